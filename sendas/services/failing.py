"""Servers that refuse stored passwords, summed up: how many accounts, and since when."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Now

from sendas.models import SmtpMsa

HOUR = timedelta(hours=1)


class FailingHost(NamedTuple):
    """A server that refuses the passwords of so many accounts, some of them within the last hour.

    `since` is the oldest of these refusals that nobody has mended, `latest` the newest.
    """

    host: str
    accounts: int
    last_hour: int
    since: datetime
    latest: datetime


def refused_below(paths: Iterable[str]) -> QuerySet[SmtpMsa]:
    """Servers of addresses whose password was refused, of the accounts at these units and below."""
    below = Q(pk=None)
    for path in paths:
        below |= Q(send_as__user__unit__path__startswith=path)
    return SmtpMsa.objects.refused().filter(below)


def failing_hosts(refused: QuerySet[SmtpMsa], limit: int) -> list[FailingHost]:
    """In one query; those with the most accounts first."""
    by_host = refused.order_by().values("host")
    counted = by_host.annotate(
        accounts=Count("send_as__user", distinct=True),
        last_hour=Count("send_as__user", distinct=True, filter=Q(refused_at__gt=Now() - HOUR)),
        since=Min("refused_at"),
        latest=Max("refused_at"),
    )
    rows = counted.order_by("-accounts", "host").values_list(*FailingHost._fields)
    return [FailingHost(*row) for row in rows[:limit]]

"""Servers that people's addresses can't use, summed up: how many accounts, why, since when."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Now

from sendas.models import SmtpMsa, Trouble

HOUR = timedelta(hours=1)


class FailingHost(NamedTuple):
    """A server with which so many accounts are in one trouble, some of them for an hour at most.

    `since` is when the first of those came into it, `latest` the last.
    """

    host: str
    trouble: str
    accounts: int
    last_hour: int
    since: datetime
    latest: datetime

    @property
    def words(self) -> str:
        return str(Trouble(self.trouble).label)


def failing_below(paths: Iterable[str]) -> QuerySet[Any]:
    """Servers of addresses that fail, of the accounts at these units and below."""
    below = Q(pk=None)
    for path in paths:
        below |= Q(send_as__user__unit__path__startswith=path)
    return SmtpMsa.objects.failing().filter(below)


def failing_hosts(failing: QuerySet[Any], limit: int) -> list[FailingHost]:
    """In one query; those with the most accounts first."""
    by_host = failing.order_by().values("host", "trouble")
    counted = by_host.annotate(
        accounts=Count("send_as__user", distinct=True),
        last_hour=Count("send_as__user", distinct=True, filter=Q(failed_at__gt=Now() - HOUR)),
        since=Min("failed_at"),
        latest=Max("failed_at"),
    )
    rows = counted.order_by("-accounts", "host", "trouble").values_list(*FailingHost._fields)
    return [FailingHost(*row) for row in rows[:limit]]

"""Those whom a line of the impact counts: page by page, and all of them for a file."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from accounts.models import OrgUnit, User
from accounts.models.directory import join_names
from console.impact import Impact
from console.impact_lines import ACCOUNTS, OUTBOX, lines_of
from console.row_number import row_number
from console.unit_tree import ways_to
from delivery.models import OutboxMessage
from delivery.route_changes import Turn
from sendas.models import SendAs, SmtpMsa

PER_PAGE = 50
NAMES = (ACCOUNTS, *(turn.value for turn in Turn), OUTBOX)
HEADING = ("what_changes", "address", "account", "name", "unit", "server", "before", "after")

Row = User | SendAs | OutboxMessage


class Listed(NamedTuple):
    """An account, one of its addresses (with its server), or the From of a message that waits."""

    user: User
    address: str
    unit: str
    server: str


class Page(NamedTuple):
    """`next`: behind which row the page after this one begins; "" on the last."""

    rows: list[Listed]
    next: str


def page_of(impact: Impact, name: str, after: str) -> Page:
    """The rows of a list behind the one that `after` names, or the first."""
    found = _all(impact, name)
    key = "primary_address" if name == ACCOUNTS else "pk"
    place = _place(name, after)
    rows = list((found if place is None else found.filter(**{f"{key}__gt": place}))[: PER_PAGE + 1])
    shown = rows[:PER_PAGE]
    units = _names(OrgUnit.objects.filter(pk__in={_account(row).unit_id for row in shown}))
    return Page(
        [_listed(row, units) for row in shown],
        str(getattr(shown[-1], key)) if len(rows) > PER_PAGE else "",
    )


def file_rows(impact: Impact) -> Iterator[tuple[str, ...]]:
    """Every list, one after the other, as HEADING says."""
    below = OrgUnit.objects.filter(path__startswith=impact.unit.path)
    units = _names(below)
    for line in lines_of(impact):
        if not line.name:
            continue
        ways = line.ways(impact)
        for row in _all(impact, line.name).iterator(chunk_size=1000):
            user, address, unit, server = _listed(row, units)
            account = user.primary_address
            yield (line.text, address or account, account, user.name, unit, server, *ways)


def _all(impact: Impact, name: str) -> QuerySet[Any]:
    if name == ACCOUNTS:
        return impact.users()
    return impact.waiting() if name == OUTBOX else impact.addresses(Turn(name))


def _place(name: str, after: str) -> str | int | UUID | None:
    """None for what names no row: the list then begins anew."""
    if name == ACCOUNTS:
        return after
    if name == OUTBOX:
        try:
            return UUID(after)
        except ValueError:
            return None
    return row_number(after)


def _names(units: Iterable[OrgUnit]) -> dict[int, str]:
    """Each with those above it."""
    units = list(units)
    ways = ways_to(units)
    return {unit.pk: join_names(ways[unit.path]) for unit in units}


def _account(row: Row) -> User:
    if isinstance(row, User):
        return row
    user = row.user if isinstance(row, SendAs) else row.account
    assert user  # noqa: S101  (messages without an account are in no list)
    return user


def _listed(row: Row, units: dict[int, str]) -> Listed:
    user = _account(row)
    unit = units[user.unit_id]
    if isinstance(row, User):
        return Listed(user, "", unit, "")
    if isinstance(row, OutboxMessage):
        return Listed(user, row.from_address, unit, "")
    msa: SmtpMsa | None = getattr(row, "smtp_msa", None)
    return Listed(user, row.send_as_email, unit, msa.host if msa else "")

"""What a value would change that is not saved yet: in the gateway card, as lists, and as a file."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import OrgUnit, User
from accounts.models.directory import join_names
from console.access import AdminRequest
from console.csv_file import csv_answer, csv_lines
from console.impact import Impact, load_impact
from console.unit_setting import GATEWAY, load_unit_setting
from console.unit_tree import ways_to
from delivery.route_changes import Turn
from policies.models import DEFAULTS
from sendas.models import SendAs, SmtpMsa

PER_PAGE = 50
MOST_DIGITS = 18  # of an address's number
ACCOUNTS = "accounts"
HEADING = ("what_changes", "address", "account", "name", "unit", "server", "before", "after")

OURS, OWN, NOBODY = "default", "gateway", "stopped"


class Turning(NamedTuple):
    """One line of the panel: its words by the number, and what kind of route becomes which."""

    words: Callable[[int], str]
    before: str = OURS
    after: str = OURS


TURNS = {
    Turn.THROUGH: Turning(
        lambda count: ngettext(
            "address changes route: its own server is set up, and the address is verified",
            "addresses change route: their own servers are set up, and the addresses are verified",
            count,
        ),
        OURS,
        OWN,
    ),
    Turn.ON_BEHALF: Turning(
        lambda count: ngettext(
            "address changes route; recipients may then see “on behalf of”",
            "addresses change route; recipients may then see “on behalf of”",
            count,
        ),
        OWN,
        OURS,
    ),
    Turn.STOPPED: Turning(
        lambda count: ngettext(
            "address can no longer send: its own server no longer accepts the password",
            "addresses can no longer send: their own servers no longer accept the password",
            count,
        ),
        OURS,
        NOBODY,
    ),
    Turn.RESUMES: Turning(
        lambda count: ngettext(
            "address can send again; recipients may then see “on behalf of”",
            "addresses can send again; recipients may then see “on behalf of”",
            count,
        ),
        NOBODY,
        OURS,
    ),
    Turn.STAYS_ON_BEHALF: Turning(
        lambda count: ngettext(
            "address has no server of its own and keeps saying “on behalf of”",
            "addresses have no server of their own and keep saying “on behalf of”",
            count,
        )
    ),
}
ROUTES = {
    OURS: gettext_lazy("by our servers"),
    OWN: gettext_lazy("through their own server"),
    NOBODY: gettext_lazy("stopped"),
}


class Line(NamedTuple):
    """`name` is how an address calls the list of those it counts; accounts have no route."""

    name: str
    number: int
    text: str
    before: str = ""
    after: str = ""

    @property
    def turns(self) -> bool:
        return self.before != self.after

    @property
    def before_text(self) -> str:
        return str(ROUTES[self.before])

    @property
    def after_text(self) -> str:
        return str(ROUTES[self.after])


class Listed(NamedTuple):
    """A row of a list, and of the file: an account, or one of its addresses."""

    user: User
    address: str
    unit: str
    server: str


def lines_of(impact: Impact) -> list[Line]:
    """What is gained or lost, then routes that turn, then what stays; without lines of nothing."""
    return [Line(ACCOUNTS, impact.accounts, _accounts_in_words(impact))] + [
        Line(
            turn.value, impact.turns[turn], each.words(impact.turns[turn]), each.before, each.after
        )
        for turn, each in TURNS.items()
        if impact.turns[turn]
    ]


def _accounts_in_words(impact: Impact) -> str:
    if impact.allowed:
        return ngettext(
            "account may then use own servers", "accounts may then use own servers", impact.accounts
        )
    return ngettext(
        "account may then no longer use own servers",
        "accounts may then no longer use own servers",
        impact.accounts,
    )


def shown_impact(impact: Impact) -> dict[str, Any]:
    """What templates/console/parts/impact.html takes."""
    query = f"?value={impact.state}"
    unit_id = impact.setting.unit.pk
    return {
        "impact": impact,
        "impact_lines": lines_of(impact),
        "impact_url": reverse("console:mail_impact", args=[unit_id]) + query,
        "impact_file": reverse("console:mail_impact_file", args=[unit_id]) + query,
    }


def impact_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    """One of the lists, page by page: each goes on behind the last row of the one before."""
    impact = _asked(request, unit)
    name = request.GET.get("list", ACCOUNTS)
    if name != ACCOUNTS and name not in TURNS:
        raise Http404
    after = request.GET.get("after", "")
    rows = _page_of(impact, name, after)
    shown = rows[:PER_PAGE]
    here = {"value": impact.state, "list": name}
    context = {
        **shown_impact(impact),
        "unit": unit,
        "line": next((line for line in lines_of(impact) if line.name == name), None),
        "rows": _listed(shown),
        "name": name,
        "after": after,
        "first_url": f"?{urlencode(here)}",
        "next_url": (
            f"?{urlencode({**here, 'after': _key(shown[-1])})}" if len(rows) > PER_PAGE else ""
        ),
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (_("Mail"), reverse("console:mail")),
            (_("Advanced settings"), reverse("console:mail_advanced", args=[unit.pk])),
            (_("What changes"), ""),
        ],
    }
    return render(request, "console/impact.html", context)


def impact_file(request: AdminRequest, unit: OrgUnit) -> StreamingHttpResponse:
    """Every list, one after the other."""
    lines = csv_lines(HEADING, _file_rows(_asked(request, unit)))
    return csv_answer(lines, "outgate-what-changes.csv")


def _asked(request: AdminRequest, unit: OrgUnit) -> Impact:
    """For the value that the address names; the root has no *inherit*, there it is the default."""
    setting = load_unit_setting(unit)
    values = {"on": {"allowed": True}, "off": {"allowed": False}, "inherit": None}
    state = request.GET.get("value")
    if state not in values:
        raise Http404
    value = values[state]
    return load_impact(setting, DEFAULTS[GATEWAY] if value is None and setting.is_root else value)


def _page_of(impact: Impact, name: str, after: str) -> list[User] | list[SendAs]:
    """One row more than a page holds, where there is one."""
    if name == ACCOUNTS:
        return list(impact.users().filter(primary_address__gt=after)[: PER_PAGE + 1])
    addresses = impact.addresses(Turn(name))
    number = int(after) if after.isdecimal() and len(after) <= MOST_DIGITS else 0
    return list(addresses.filter(pk__gt=number)[: PER_PAGE + 1])


def _key(row: User | SendAs) -> str:
    return row.primary_address if isinstance(row, User) else str(row.pk)


def _names(units: Iterable[OrgUnit]) -> dict[int, str]:
    """Each with those above it."""
    units = list(units)
    ways = ways_to(units)
    return {unit.pk: join_names(ways[unit.path]) for unit in units}


def _listed(rows: list[User] | list[SendAs]) -> list[Listed]:
    users = [row if isinstance(row, User) else row.user for row in rows]
    units = _names(OrgUnit.objects.filter(pk__in={user.unit_id for user in users}))
    return [_row(row, units) for row in rows]


def _row(row: User | SendAs, units: dict[int, str]) -> Listed:
    user = row if isinstance(row, User) else row.user
    msa: SmtpMsa | None = None if isinstance(row, User) else getattr(row, "smtp_msa", None)
    address = "" if isinstance(row, User) else row.send_as_email
    return Listed(user, address, units[user.unit_id], msa.host if msa else "")


def _file_rows(impact: Impact) -> Iterator[tuple[str, ...]]:
    top = impact.setting.unit
    units = _names(OrgUnit.objects.filter(path__startswith=top.path))
    for line in lines_of(impact):
        rows: QuerySet[Any]
        if line.name == ACCOUNTS:
            rows, before, after = impact.users(), impact.before_text, impact.value_text
        else:
            rows = impact.addresses(Turn(line.name))
            before, after = line.before_text, line.after_text
        for row in rows.iterator(chunk_size=1000):
            user, address, unit, server = _row(row, units)
            yield (
                line.text, address or user.primary_address, user.primary_address, user.name,
                unit, server, before, after,
            )  # fmt: skip

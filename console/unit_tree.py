"""The unit tree beside a setting: names, own values, and account counts that include all below.

Only the branches that are open are read, so a page costs what it shows, not what there is.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Q
from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import ngettext

from accounts.models import OrgUnit
from accounts.models.directory import lineage
from console.access import AdminRequest, administered_units
from console.account_counts import accounts_with_below
from console.row_number import row_number
from policies.models import GatewayPolicy
from policies.words import value_in_brief

# Of more units side by side, or more hits of a search, a page would be too long to be read.
MOST_SHOWN = 200
MOST_OPEN = 50


class Unit(NamedTuple):
    """What a row needs of a unit; whole ones would take most of the page's time."""

    pk: int
    path: str
    name: str
    has_below: bool


@dataclass
class Node:
    """One row of the tree. Without `url` only the name: the way down to what one administers.

    `toggle_url` opens or closes the branch without a script; "" where the page has it open anyway.
    `own_below` counts the units below with a value of their own.
    """

    name: str
    url: str = ""
    toggle_url: str = ""
    children_url: str = ""
    current: bool = False
    expanded: bool | None = None
    own_value: str = ""
    own_below: int = 0
    accounts: int | None = None
    children: list["Node"] = field(default_factory=list)


class UnitTree:
    """The administrator's units and the way down to them: five queries, however many units.

    Without a setting the tree has no marks.
    """

    def __init__(self, request: AdminRequest, page: str, setting: str = "") -> None:
        self.page = page
        self.setting = setting
        self.request = request
        self.administered = tuple(request.administered)
        self.above = {path for top in self.administered for path in lineage(top)[1:]}
        self.values = _own_values(request, setting)
        self.own_below = Counter(path for own in self.values for path in lineage(own)[1:])
        self.accounts = accounts_with_below(self.administered)
        self.opened = _opened(request)
        self.below: dict[str, list[Unit]] = {}

    def nodes(self, current: OrgUnit) -> list[Node]:
        """The tree, open along the way to the current unit, at that unit, and where asked for."""
        ways = {path for unit_path in self.opened.values() for path in lineage(unit_path)}
        # A branch inside a closed one is not shown.
        way = set(current.lineage)
        self._read(way | self.above | ways)
        return self._level("", way | set(self.opened.values()), current.path)

    def found(self, words: str, current: OrgUnit) -> list[Node]:
        """Only the units with `words` in their name, and the way to each."""
        hits = administered_units(self.request).filter(name__icontains=words)
        paths = list(hits.values_list("path", flat=True)[:MOST_SHOWN])
        way = {path for hit in paths for path in lineage(hit)}
        self._keep(_units(Q(path__in=way)))
        return self._level("", way, current.path)

    def nodes_below(self, unit: OrgUnit) -> list[Node]:
        self._read({unit.path})
        return self._level(unit.path, set(), "")

    def _read(self, parents: Iterable[str]) -> None:
        """The topmost unit, and the units just below these."""
        wanted = Q(depth=1)
        for path in parents:
            depth = len(path) // OrgUnit.steplen + 1
            wanted |= Q(depth=depth, path__startswith=path)
        shown = Q(path__in=self.above)
        for path in self.administered:
            shown |= Q(path__startswith=path)
        self._keep(_units(wanted & shown))

    def _keep(self, units: Iterable[Unit]) -> None:
        for unit in units:
            self.below.setdefault(unit.path[: -OrgUnit.steplen], []).append(unit)

    def _level(self, path: str, opened: set[str], current: str) -> list[Node]:
        units = self.below.get(path, [])
        shown = [
            unit for number, unit in enumerate(units) if number < MOST_SHOWN or unit.path in opened
        ]
        nodes = [self._node(unit, opened, current) for unit in shown]
        if len(shown) < len(units):
            more = len(units) - len(shown)
            text = ngettext("%d more: find it by name", "%d more: find them by name", more)
            nodes.append(Node(name=text % more))
        return nodes

    def _node(self, unit: Unit, opened: set[str], current: str) -> Node:
        mine = unit.path.startswith(self.administered)
        # What lies above one's own units can't be opened, so it is open.
        is_open = unit.path in opened or not mine
        children = self._level(unit.path, opened, current) if is_open else []
        if not mine:
            return Node(name=unit.name, expanded=bool(children), children=children)
        value = self.values.get(unit.path)
        return Node(
            name=unit.name,
            url=reverse(self.page, args=[unit.pk]) + _query(self.opened),
            toggle_url=self._toggle_url(unit, current) if unit.has_below else "",
            children_url=reverse(f"{self.page}_below", args=[unit.pk]),
            current=unit.path == current,
            expanded=bool(children) if unit.has_below else None,
            own_value=value_in_brief(self.setting, value) if value is not None else "",
            own_below=self.own_below[unit.path],
            accounts=self.accounts[unit.path],
            children=children,
        )

    def _toggle_url(self, unit: Unit, current: str) -> str:
        if current.startswith(unit.path):
            return ""
        opened = dict(self.opened)
        if opened.pop(unit.pk, None) is None:
            opened[unit.pk] = unit.path
        return _query(opened) or "?"


def way_to(unit: OrgUnit) -> list[OrgUnit]:
    """From the topmost unit down to `unit`."""
    return list(OrgUnit.objects.filter(path__in=unit.lineage).order_by("path"))


def ways_to(units: Iterable[OrgUnit]) -> dict[str, list[OrgUnit]]:
    """The same for several, by path: one query."""
    units = list(units)
    found = OrgUnit.objects.filter(path__in={path for unit in units for path in unit.lineage})
    by_path = {unit.path: unit for unit in found}
    return {unit.path: [by_path[path] for path in reversed(unit.lineage)] for unit in units}


def _units(wanted: Q) -> list[Unit]:
    rows = OrgUnit.objects.filter(wanted).order_by("path")
    return [
        Unit(pk, path, name, numchild > 0)
        for pk, path, name, numchild in rows.values_list("pk", "path", "name", "numchild")
    ]


def _opened(request: AdminRequest) -> dict[int, str]:
    """The branches that the address names: `?open=3&open=7`."""
    query: QueryDict = request.GET
    named = map(row_number, query.getlist("open")[:MOST_OPEN])
    ids = [number for number in named if number is not None]
    if not ids:
        return {}
    return dict(administered_units(request).filter(pk__in=ids).values_list("pk", "path"))


def _query(opened: dict[int, str]) -> str:
    return f"?{urlencode([('open', pk) for pk in sorted(opened)])}" if opened else ""


def _own_values(request: AdminRequest, setting: str) -> dict[str, dict[str, Any]]:
    if not setting:
        return {}
    below = Q()
    for path in request.administered:
        below |= Q(unit__path__startswith=path)
    rows = GatewayPolicy.objects.filter(below, setting=setting, value__isnull=False)
    return dict(rows.values_list("unit__path", "value"))

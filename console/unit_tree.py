"""The unit tree beside a setting: names, own values, and account counts that include all below."""

from collections import Counter
from dataclasses import dataclass, field

from django.db.models import Count, Q
from django.urls import reverse

from accounts.models import OrgUnit, User
from accounts.models.directory import lineage
from console.access import AdminRequest, administered_units
from console.wording import on_or_off
from policies.models import GatewayPolicy


@dataclass
class Node:
    """One row of the tree. Without `url` only the name: the way down to what one administers."""

    name: str
    url: str
    children_url: str
    current: bool
    expanded: bool | None
    own_value: str
    own_below: bool
    accounts: int | None
    children: list["Node"] = field(default_factory=list)


class UnitTree:
    """The administrator's units and the way down to them: three queries, however many units."""

    def __init__(self, request: AdminRequest, page: str, setting: str) -> None:
        self.page = page
        self.administered = tuple(request.administered)
        self.units = {unit.path: unit for unit in _units_and_the_way_down(request)}
        self.values = _own_values(request, setting)
        self.own_below = {path for own in self.values for path in lineage(own)[1:]}
        self.accounts = _accounts_with_below(request)
        self.below: dict[str, list[OrgUnit]] = {}
        for path, unit in self.units.items():
            self.below.setdefault(path[: -OrgUnit.steplen], []).append(unit)

    def way_to(self, unit: OrgUnit) -> list[OrgUnit]:
        """From the topmost unit down to `unit`."""
        return [self.units[path] for path in reversed(unit.lineage)]

    def nodes(self, current: OrgUnit) -> list[Node]:
        """The tree, open along the way to the current unit and at that unit."""
        return self._level("", set(current.lineage), current)

    def found(self, words: str, current: OrgUnit) -> list[Node]:
        """Only the units with `words` in their name, and the way to each."""
        hits = [
            path
            for path, unit in self.units.items()
            if self._administers(unit) and words.lower() in unit.name.lower()
        ]
        way = {path for hit in hits for path in lineage(hit)}
        return self._level("", way, current, only=way)

    def nodes_below(self, unit: OrgUnit) -> list[Node]:
        return self._level(unit.path, set(), None)

    def _level(
        self, path: str, opened: set[str], current: OrgUnit | None, only: set[str] | None = None
    ) -> list[Node]:
        return [
            self._node(unit, opened, current, only)
            for unit in self.below.get(path, [])
            if only is None or unit.path in only
        ]

    def _node(
        self, unit: OrgUnit, opened: set[str], current: OrgUnit | None, only: set[str] | None
    ) -> Node:
        mine = self._administers(unit)
        # What lies above one's own units can't be opened, so it is open.
        is_open = unit.path in opened or not mine
        children = self._level(unit.path, opened, current, only) if is_open else []
        value = self.values.get(unit.path)
        return Node(
            name=unit.name,
            url=reverse(self.page, args=[unit.pk]) if mine else "",
            children_url=reverse(f"{self.page}_below", args=[unit.pk]) if mine else "",
            current=unit == current,
            expanded=bool(children) if unit.path in self.below else None,
            own_value=on_or_off(value) if value else "",
            own_below=mine and unit.path in self.own_below,
            accounts=self.accounts[unit.path] if mine else None,
            children=children,
        )

    def _administers(self, unit: OrgUnit) -> bool:
        return bool(unit.path.startswith(self.administered))


def _units_and_the_way_down(request: AdminRequest) -> list[OrgUnit]:
    above = {path for top in request.administered for path in lineage(top)}
    way_down = OrgUnit.objects.filter(path__in=above)
    return list((administered_units(request) | way_down).order_by("path"))


def _own_values(request: AdminRequest, setting: str) -> dict[str, dict[str, bool]]:
    rows = GatewayPolicy.objects.filter(setting=setting, value__isnull=False)
    return dict(rows.filter(_below(request)).values_list("unit__path", "value"))


def _accounts_with_below(request: AdminRequest) -> Counter[str]:
    accounts: Counter[str] = Counter()
    per_unit = User.objects.filter(_below(request)).order_by().values_list("unit__path")
    for unit_path, count in per_unit.annotate(Count("pk")):
        for path in lineage(unit_path):
            accounts[path] += count
    return accounts


def _below(request: AdminRequest) -> Q:
    below = Q()
    for path in request.administered:
        below |= Q(unit__path__startswith=path)
    return below

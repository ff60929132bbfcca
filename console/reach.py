"""Which accounts a change reaches: those at and below its unit, but for units with own values."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from accounts.models import AccountCount, OrgUnit
from accounts.models.directory import lineage
from console.unit_tree import MOST_SHOWN
from policies.models import GatewayPolicy, PolicyChange
from policies.words import value_in_brief


class UnitCount(NamedTuple):
    """`own_value`: what the unit has of its own, so that the change does not reach it; or ""."""

    unit: OrgUnit
    accounts: int
    have_it: int
    own_value: str

    @property
    def not_yet(self) -> int:
        return self.accounts - self.have_it


@dataclass
class Reach:
    """Accounts by cohort; and by unit: its own first, then each unit below with all below that.

    `more_units` are below as well, but too many to be listed.
    """

    by_cohort: Counter[int] = field(default_factory=Counter)
    by_unit: list[UnitCount] = field(default_factory=list)
    more_units: int = 0
    have_it: int = 0

    @property
    def accounts(self) -> int:
        return self.by_cohort.total()


def reach_of(change: PolicyChange, unit: OrgUnit | None, applied: set[int]) -> Reach:
    """Three queries. Counted as the units are now; nobody where the unit is gone."""
    reach = Reach()
    if unit is None:
        return reach
    own = _own_values_below(unit, change.setting)
    accounts: Counter[str] = Counter()
    have_it: Counter[str] = Counter()
    for path, cohort, count in _accounts_below(unit):
        row = path[: len(unit.path) + OrgUnit.steplen]
        if own.keys().isdisjoint(lineage(path)):
            reach.by_cohort[cohort] += count
            have_it[row] += count * (cohort in applied)
        elif row not in own:
            continue
        accounts[row] += count
    reach.have_it = have_it.total()
    below = OrgUnit.objects.get_children(unit)[:MOST_SHOWN]
    reach.by_unit = [
        UnitCount(row, accounts[row.path], have_it[row.path], own.get(row.path, ""))
        for row in [unit, *below]
    ]
    reach.more_units = max(unit.numchild - MOST_SHOWN, 0)
    return reach


def _own_values_below(unit: OrgUnit, setting: str) -> dict[str, str]:
    rows: Any = GatewayPolicy.objects.filter(
        setting=setting, value__isnull=False, unit__path__startswith=unit.path
    ).exclude(unit=unit)
    values = rows.values_list("unit__path", "value")
    return {path: value_in_brief(setting, value) for path, value in values}


def _accounts_below(unit: OrgUnit) -> list[tuple[str, int, int]]:
    rows = AccountCount.objects.filter(unit__path__startswith=unit.path)
    return list(rows.values_list("unit__path", "cohort", "accounts"))

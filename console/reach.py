"""Which accounts a change reaches: those at and below its unit, but for units with own values."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Q, Sum

from accounts.models import AccountCount, OrgUnit
from accounts.models.directory import lineage
from console.unit_tree import MOST_SHOWN
from policies.models import GatewayPolicy, PolicyChange
from policies.words import Value, value_in_brief


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
    """Four queries. Counted as the units are now; nobody where the unit is gone."""
    reach = Reach()
    if unit is None:
        return reach
    own = _own_values_below(unit, change.setting)
    accounts: Counter[str] = Counter()
    have_it: Counter[str] = Counter()
    reached: list[int] = []
    for unit_id, path, count, having in _accounts_below(unit, applied):
        row = path[: len(unit.path) + OrgUnit.steplen]
        if own.keys().isdisjoint(lineage(path)):
            reached.append(unit_id)
            have_it[row] += having
        elif row not in own:
            continue
        accounts[row] += count
    reach.by_cohort = _by_cohort(reached)
    reach.have_it = have_it.total()
    below = OrgUnit.objects.get_children(unit)[:MOST_SHOWN]
    reach.by_unit = [
        UnitCount(row, accounts[row.path], have_it[row.path], _in_brief(change, own.get(row.path)))
        for row in [unit, *below]
    ]
    reach.more_units = max(unit.numchild - MOST_SHOWN, 0)
    return reach


def _in_brief(change: PolicyChange, value: Value | None) -> str:
    return "" if value is None else value_in_brief(change.setting, value)


def _own_values_below(unit: OrgUnit, setting: str) -> dict[str, Value]:
    rows: Any = GatewayPolicy.objects.filter(
        setting=setting, value__isnull=False, unit__path__startswith=unit.path
    ).exclude(unit=unit)
    return dict(rows.values_list("unit__path", "value"))


def _accounts_below(unit: OrgUnit, applied: set[int]) -> list[tuple[int, str, int, int]]:
    """By unit with accounts: all of them, and those in the cohorts given."""
    rows = AccountCount.objects.filter(unit__path__startswith=unit.path)
    return list(
        rows.values_list("unit_id", "unit__path").annotate(
            total=Sum("accounts"), having=Sum("accounts", filter=Q(cohort__in=applied), default=0)
        )
    )


def _by_cohort(units: list[int]) -> Counter[int]:
    rows = AccountCount.objects.filter(unit_id__in=units).values_list("cohort")
    return Counter(dict(rows.annotate(Sum("accounts"))))

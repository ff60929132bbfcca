"""Whom a value would reach that is not saved yet, and what it would change there."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import AccountCount, OrgUnit, User
from accounts.models.directory import lineage
from accounts.models.people import EXPRESS_COHORT, cohort_count
from console.unit_setting import GATEWAY, UnitSetting, state_of
from console.wording import on_or_off
from delivery.route_changes import Turn, count_turns, taking
from policies.models import DEFAULTS, AppliedPolicy, GatewayPolicy
from policies.services import database_now
from sendas.models import SendAs


@dataclass(frozen=True)
class Impact:
    """Counted by what has reached each account now, not by what is saved: a rollout may run.

    `changed` holds the units whose accounts gain or lose the right, by the cohorts that do.
    `accounts_apart` are those of units below with values of their own.
    """

    setting: UnitSetting
    state: str
    allowed: bool
    counted_at: datetime
    changed: dict[frozenset[int], list[int]]
    accounts: int
    accounts_same: int
    accounts_apart: int
    units_apart: int

    @property
    def value_text(self) -> str:
        return on_or_off({"allowed": self.allowed})

    @property
    def before_text(self) -> str:
        return on_or_off({"allowed": not self.allowed})

    @cached_property
    def turns(self) -> Counter[Turn]:
        return count_turns(self._addresses(), allowed=self.allowed) if self.changed else Counter()

    def users(self) -> QuerySet[User]:
        """Who gains or loses the right, in the order of their addresses."""
        return User.objects.filter(self._of_accounts()).order_by("primary_address")

    def addresses(self, turn: Turn) -> QuerySet[SendAs]:
        """Whose mail takes that turn, in the order in which they were added."""
        found = taking(self._addresses(), turn, allowed=self.allowed)
        return found.select_related("user", "smtp_msa").order_by("pk")

    def _addresses(self) -> QuerySet[SendAs]:
        return SendAs.objects.filter(self._of_accounts("user__"))

    def _of_accounts(self, prefix: str = "") -> Q:
        found = Q(pk=None)
        for cohorts, units in self.changed.items():
            found |= Q(**{f"{prefix}unit_id__in": units, f"{prefix}cohort__in": cohorts})
        return found


def load_impact(setting: UnitSetting, value: dict[str, Any] | None) -> Impact:
    """What saving the value (None: inherit) for the unit would change. Five queries."""
    unit = setting.unit
    then = setting.inherited.allowed if value is None else bool(value["allowed"])
    apart = _units_apart(unit)
    applied = _Applied(unit)
    changed: defaultdict[frozenset[int], set[int]] = defaultdict(set)
    accounts: Counter[str] = Counter()
    for unit_id, path, cohort, count in _accounts_below(unit):
        if not apart.isdisjoint(lineage(path)):
            accounts["apart"] += count
        elif cohort in (others := applied.cohorts_without(path, allowed=then)):
            accounts["changed"] += count
            changed[others].add(unit_id)
        else:
            accounts["same"] += count
    return Impact(
        setting=setting,
        state=state_of(value),
        allowed=then,
        counted_at=database_now(),
        changed={cohorts: sorted(units) for cohorts, units in changed.items()},
        accounts=accounts["changed"],
        accounts_same=accounts["same"],
        accounts_apart=accounts["apart"],
        units_apart=len(apart),
    )


class _Applied:
    """What holds for each cohort of the units at, above and below one. Two queries."""

    def __init__(self, unit: OrgUnit) -> None:
        rows = AppliedPolicy.objects.filter(
            Q(unit__path__startswith=unit.path) | Q(unit__path__in=unit.lineage),
            setting=GATEWAY,
            value__isnull=False,
        ).values_list("unit__path", "cohort", "value")
        self._own: defaultdict[str, dict[int, bool]] = defaultdict(dict)
        for path, cohort, value in rows.iterator(chunk_size=10_000):
            self._own[path][cohort] = bool((value or {})["allowed"])
        default = bool(DEFAULTS[GATEWAY]["allowed"])
        self._known = {"": dict.fromkeys(range(EXPRESS_COHORT, cohort_count() + 1), default)}
        self._without: dict[tuple[str, bool], frozenset[int]] = {}

    def cohorts_without(self, path: str, *, allowed: bool) -> frozenset[int]:
        """Those whose accounts in the unit at `path` don't have that value now.

        Few different ones come back, for most units are at the same wave: so what is asked of the
        database with them stays short.
        """
        key = path, allowed
        if key not in self._without:
            held = self._held(path)
            self._without[key] = frozenset(cohort for cohort in held if held[cohort] != allowed)
        return self._without[key]

    def _held(self, path: str) -> dict[int, bool]:
        if path not in self._known:
            above = self._held(path[: -OrgUnit.steplen])
            self._known[path] = above | self._own[path] if path in self._own else above
        return self._known[path]


def _units_apart(unit: OrgUnit) -> set[str]:
    """The paths of the units below that have a value of their own: the change ends there."""
    rows = GatewayPolicy.objects.filter(
        setting=GATEWAY, value__isnull=False, unit__path__startswith=unit.path
    ).exclude(unit=unit)
    return set(rows.values_list("unit__path", flat=True))


def _accounts_below(unit: OrgUnit) -> QuerySet[AccountCount, tuple[int, str, int, int]]:
    rows = AccountCount.objects.filter(unit__path__startswith=unit.path, accounts__gt=0)
    return rows.values_list("unit_id", "unit__path", "cohort", "accounts")

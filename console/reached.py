"""What has reached the accounts at and below a unit, by unit and cohort."""

import json
from collections import defaultdict
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import AccountCount, OrgUnit
from accounts.models.people import EXPRESS_COHORT, cohort_count
from delivery.route_changes import any_of
from policies.guardrails import merge
from policies.models import DEFAULTS, AppliedPolicy, Setting

Value = dict[str, Any]
# Units by their cohorts. Few different ones, for most units are at the same wave: so what is asked
# with them stays short.
Cohorts = dict[frozenset[int], list[int]]


class Applied:
    """A setting's applied values at, above and below a unit. One query."""

    def __init__(self, unit: OrgUnit, setting: str) -> None:
        rows = AppliedPolicy.objects.filter(
            Q(unit__path__startswith=unit.path) | Q(unit__path__in=unit.lineage),
            setting=setting,
            value__isnull=False,
        ).values_list("unit__path", "cohort", "value")
        self._own: defaultdict[str, dict[int, Value]] = defaultdict(dict)
        for path, cohort, value in rows.iterator(chunk_size=10_000):
            self._own[path][cohort] = value or {}
        self._cohorts = range(EXPRESS_COHORT, cohort_count() + 1)
        self._default = DEFAULTS[setting]
        self._forget()

    def with_value(self, unit: OrgUnit, value: Value | None) -> "Applied":
        """The same where that unit had the value (None: inherit) in all of its cohorts."""
        other = object.__new__(Applied)
        other.__dict__ |= self.__dict__
        own = {} if value is None else dict.fromkeys(self._cohorts, value)
        other._own = defaultdict(dict, self._own | {unit.path: own})
        other._forget()
        return other

    def held(self, path: str) -> dict[int, Value]:
        """What holds for each cohort of the unit at `path`.

        Merged by key from the topmost unit down, as guardrails are; all others have one key.
        """
        if path not in self._known:
            above = self.held(path[: -OrgUnit.steplen])
            own = self._own.get(path)
            merged = {cohort: above[cohort] | value for cohort, value in (own or {}).items()}
            self._known[path] = above | merged if own else above
        return self._known[path]

    def _forget(self) -> None:
        self._known = {"": dict.fromkeys(self._cohorts, self._default)}


def accounts_below(unit: OrgUnit) -> QuerySet[AccountCount, tuple[int, str, int, int]]:
    """Unit, its path, cohort and number of accounts."""
    rows = AccountCount.objects.filter(unit__path__startswith=unit.path, accounts__gt=0)
    return rows.values_list("unit_id", "unit__path", "cohort", "accounts")


class Meanings:
    """Values as text that is equal where they mean the same; each object is looked at once."""

    def __init__(self, setting: str) -> None:
        self._merges = setting == Setting.GATEWAY_GUARDRAILS
        self._known: dict[int, str] = {}

    def of(self, value: Value) -> str:
        if id(value) not in self._known:
            whole: Any = merge([("", 0, value)]).as_value() if self._merges else value
            self._known[id(value)] = json.dumps(whole, sort_keys=True)
        return self._known[id(value)]


def by_cohorts(units: dict[int, set[int]]) -> Cohorts:
    found: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for unit_id, cohorts in units.items():
        found[frozenset(cohorts)].append(unit_id)
    return dict(found)


def accounts_in(cohorts: Cohorts, prefix: str = "") -> Q:
    return any_of(
        Q(**{f"{prefix}unit_id__in": units, f"{prefix}cohort__in": each})
        for each, units in cohorts.items()
    )

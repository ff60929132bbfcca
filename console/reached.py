"""What has reached the accounts at and below a unit, by unit and cohort."""

from collections import defaultdict
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import AccountCount, OrgUnit
from accounts.models.people import EXPRESS_COHORT, cohort_count
from policies.models import DEFAULTS, AppliedPolicy

Value = dict[str, Any]


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

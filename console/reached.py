"""What has reached the accounts at and below a unit, by unit and cohort."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Expression, Func, Q, QuerySet, TextField
from django.db.models import Value as Literal
from django.db.models.functions import Cast, Coalesce, Concat

from accounts.models import AccountCount, OrgUnit
from accounts.models.people import EXPRESS_COHORT, cohort_count
from delivery.route_changes import any_of
from policies.guardrails import merge
from policies.models import DEFAULTS, AppliedPolicy, Setting

Value = dict[str, Any]
# Units by their cohorts; by no cohorts those of which all accounts are meant. Few different ones,
# for most units are at the same wave: so what is asked with them stays short.
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


def by_cohorts(units: Mapping[int, set[int]], peopled: Mapping[int, set[int]]) -> Cohorts:
    """`peopled`: the cohorts in which each unit has accounts at all."""
    found: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for unit_id, cohorts in units.items():
        found[frozenset(() if cohorts == peopled[unit_id] else cohorts)].append(unit_id)
    return dict(found)


def accounts_in(cohorts: Cohorts, prefix: str = "") -> Q:
    return any_of(
        Q(**{f"{prefix}unit_id__in": units}) & (Q(**{f"{prefix}cohort__in": each}) if each else Q())
        for each, units in cohorts.items()
    )


def group_of(groups: Iterable[Cohorts], prefix: str = "") -> Expression:
    """The place, as text, of the group among these that an account is in; "" for none.

    Looked up by unit, and by cohort where a unit's accounts are in several: a condition for each
    group would be asked of every row.
    """
    units: dict[str, int] = {}
    cells: dict[str, int] = {}
    for place, group in enumerate(groups):
        for cohorts, unit_ids in group.items():
            for unit_id in unit_ids:
                cells.update({f"{unit_id} {cohort}": place for cohort in cohorts})
                if not cohorts:
                    units[str(unit_id)] = place
    unit: Any = Cast(f"{prefix}unit_id", TextField())
    cohort: Any = Cast(f"{prefix}cohort", TextField())
    cell = Concat(unit, Literal(" "), cohort, output_field=TextField())
    found = [_looked_up(units, unit)] + ([_looked_up(cells, cell)] if cells else [])
    return Coalesce(*found, Literal(""), output_field=TextField())


def _looked_up(places: Mapping[str, int], key: Expression) -> Expression:
    text = Literal(json.dumps(places))
    return Func(
        text, key, template="(%(expressions)s)", arg_joiner="::jsonb ->> ", output_field=TextField()
    )

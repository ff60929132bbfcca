"""Counting whom a value would reach: by unit and cohort, from what is applied there."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from accounts.models import OrgUnit
from accounts.models.directory import lineage
from console.impact import Impact
from console.reached import Applied, Cohorts, Meanings, Value, accounts_below, by_cohorts
from console.signed_value import signed_value
from console.unit_setting import GATEWAY, UnitSetting, state_of
from delivery.route_changes import Held, Shift
from delivery.routing import OutboundGateway
from delivery.services import outbound_gateway
from policies.models import GatewayFailure, GatewayPolicy, Setting
from policies.services import database_now, inherited_value
from policies.words import value_in_words


def load_impact(setting: UnitSetting, value: dict[str, Any] | None) -> Impact:
    """What saving the value (None: inherit) of the first setting would change. Six queries.

    It ends at units below that have a value of their own saved, whatever has reached them.
    """
    unit = setting.unit
    then: Value = {"allowed": setting.inherited.allowed if value is None else value["allowed"]}
    apart = _units_apart(unit)
    reached, accounts_apart = _Reached(unit, GATEWAY), 0
    for unit_id, path, cohort, count in accounts_below(unit):
        if apart.isdisjoint(lineage(path)):
            reached.add(unit_id, path, cohort, count, then)
        else:
            accounts_apart += count
    return reached.impact(
        asked=state_of(value), then=then, accounts_apart=accounts_apart, units_apart=len(apart)
    )


def load_value_impact(unit: OrgUnit, setting: str, value: Value | None) -> Impact:
    """The same for the other settings by which routes change. At most eight queries."""
    reached = _Reached(unit, setting)
    then = reached.applied[setting].with_value(unit, value)
    for unit_id, path, cohort, count in accounts_below(unit):
        reached.add(unit_id, path, cohort, count, then.held(path)[cohort])
    shown = inherited_value(unit, setting).value if value is None else value
    return reached.impact(asked=signed_value(setting, value), then=shown)


class _Reached:
    """Accounts by what would change for them, those for whom something would."""

    def __init__(self, unit: OrgUnit, setting: str) -> None:
        self.unit, self.setting = unit, setting
        asked = {GATEWAY, Setting.GATEWAY_FAILURE, setting}
        self.applied = {each: Applied(unit, each) for each in sorted(asked)}
        self._guardrails = _Guardrails(unit)
        self._meanings = Meanings(setting)
        self._known: dict[tuple[int, ...], Shift] = {}
        self._before: dict[str, None] = {}
        self._shifts: defaultdict[Shift, defaultdict[int, set[int]]] = defaultdict(
            lambda: defaultdict(set)
        )
        self._peopled: defaultdict[int, set[int]] = defaultdict(set)
        self._accounts: Counter[bool] = Counter()

    def add(self, unit_id: int, path: str, cohort: int, count: int, then: Value) -> None:
        values = {setting: applied.held(path)[cohort] for setting, applied in self.applied.items()}
        changes = self._meanings.of(values[self.setting]) != self._meanings.of(then)
        self._accounts[changes] += count
        self._peopled[unit_id].add(cohort)
        if changes:
            self._shifts[self._shift(values, then)][unit_id].add(cohort)
            self._guardrails.add(unit_id, path, cohort)

    def _shift(self, values: dict[str, Value], then: Value) -> Shift:
        """Each value is one object for many units, so most of them are known already."""
        key = (*map(id, values.values()), id(then))
        if key not in self._known:
            self._before[value_in_words(self.setting, values[self.setting])] = None
            new = values | {self.setting: then}
            self._known[key] = Shift(self._held(values), self._held(new))
        return self._known[key]

    def _held(self, values: dict[str, Value]) -> Held:
        return Held(
            allowed=bool(values[GATEWAY]["allowed"]),
            on_failure=GatewayFailure(values[Setting.GATEWAY_FAILURE]["choice"]),
            outbound=_outbound(values.get(Setting.OUTBOUND_GATEWAY)),
        )

    def impact(self, *, asked: str, then: Value, **apart: int) -> Impact:
        return Impact(
            unit=self.unit,
            setting=self.setting,
            asked=asked,
            before_text=" / ".join(self._before),
            then=then,
            counted_at=database_now(),
            changed={
                shift: by_cohorts(units, self._peopled) for shift, units in self._shifts.items()
            },
            guarded=self._guardrails.groups(self._peopled),
            accounts=self._accounts[True],
            accounts_same=self._accounts[False],
            **apart,
        )


class _Guardrails:
    """Accounts by the guardrails that have reached them, but for those without any."""

    def __init__(self, unit: OrgUnit) -> None:
        self._applied = Applied(unit, Setting.GATEWAY_GUARDRAILS)
        self._meanings = Meanings(Setting.GATEWAY_GUARDRAILS)
        self._values: dict[str, Value] = {}
        self._units: defaultdict[str, defaultdict[int, set[int]]] = defaultdict(
            lambda: defaultdict(set)
        )

    def add(self, unit_id: int, path: str, cohort: int) -> None:
        value = self._applied.held(path)[cohort]
        if value:
            meant = self._meanings.of(value)
            self._values[meant] = value
            self._units[meant][unit_id].add(cohort)

    def groups(self, peopled: Mapping[int, set[int]]) -> list[tuple[Value, Cohorts]]:
        return [
            (self._values[meant], by_cohorts(units, peopled))
            for meant, units in self._units.items()
        ]


def _outbound(value: Value | None) -> OutboundGateway | None:
    """Without the unit that named it: which one did is no difference to mail."""
    server = value["server"] if value else None
    if server and server["credential_id"] == 0:  # a new sign-in, which has no number yet
        return outbound_gateway("", {"server": server | {"credential_id": str(UUID(int=0))}})
    return outbound_gateway("", {"server": server})


def _units_apart(unit: OrgUnit) -> set[str]:
    """The paths of the units below that have a value of their own: the change ends there."""
    rows = GatewayPolicy.objects.filter(
        setting=GATEWAY, value__isnull=False, unit__path__startswith=unit.path
    ).exclude(unit=unit)
    return set(rows.values_list("unit__path", flat=True))

"""What held for a cohort at a past time, and what will at a future one if nothing else changes."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from accounts.models import AuditEvent, OrgUnit, User
from accounts.models.directory import lineage
from accounts.models.people import EXPRESS_COHORT, cohort_count
from policies.guardrails import Guardrails, merge
from policies.models import DEFAULTS, GatewayPolicy, PolicyChange, RolloutWave, Setting
from policies.services.clock import database_now
from policies.services.effective import Effective
from policies.services.waves import wave_delay

Key = tuple[int, str]  # a unit's id and a setting


class Arrival(NamedTuple):
    """A change that has reached the cohort, or is to, at `at`; a scheduled one has no version yet,
    and takes `version` if nothing else is saved for its unit.
    """

    unit: OrgUnit
    change: PolicyChange
    version: int
    at: datetime


@dataclass(frozen=True)
class Moment:
    """All settings of one cohort of one unit at a time.

    `held`: of each unit on the way up and each setting the change that holds there, its value NULL
    where that is to inherit. `coming`: what has not arrived yet, but will have by then; `paused`:
    what would have, were it not paused.
    """

    cohort: int
    held: Mapping[Key, Arrival]
    coming: list[Arrival] = field(default_factory=list)
    paused: list[PolicyChange] = field(default_factory=list)

    def deciding(self, setting: str) -> Arrival | None:
        """The deepest unit's that has a value; None where nothing was set."""
        return max(self._set(setting), key=lambda each: each.unit.path, default=None)

    def effective(self, setting: str) -> Effective:
        """As policies.services.applied_value answers at that time."""
        decider = self.deciding(setting)
        if decider is None:
            return Effective(DEFAULTS[setting], None, 0)
        return Effective(decider.change.new or {}, decider.unit, decider.version)

    def guardrails(self) -> Guardrails:
        """As policies.services.applied_guardrails answers at that time."""
        found = sorted(self._set(Setting.GATEWAY_GUARDRAILS), key=lambda each: each.unit.path)
        return merge((each.unit.name, each.version, each.change.new or {}) for each in found)

    def _set(self, setting: str) -> list[Arrival]:
        return [
            arrival
            for (_unit, of), arrival in self.held.items()
            if of == setting and arrival.change.new is not None
        ]


def values_at(unit_path: str, cohort: int, at: datetime) -> Moment:
    """What held for a cohort of the unit at `unit_path`, those above it taken as they are now.

    Told from the waves that are kept for good: of each unit and setting the highest version whose
    wave had been applied. Two queries.
    """
    return Moment(cohort, _arrived(_way_up(unit_path), cohort, at))


def values_planned(unit_path: str, cohort: int, at: datetime) -> Moment:
    """What will hold if nothing else changes and all comes in time. Six queries.

    Waves that are due by then have arrived, and scheduled changes have started, which ends what
    older ones of another value had left to bring. Paused waves stay paused.
    """
    units = _way_up(unit_path)
    plan = _Plan(units, cohort, at)
    held = _arrived(units, cohort)
    coming = plan.coming()
    for arrival in coming:
        key = _key(arrival.change)
        if key not in held or held[key].version < arrival.version:
            held[key] = arrival
    return Moment(cohort, held, coming, plan.paused)


def cohort_at(user: User, at: datetime) -> int:
    """The cohort that the account was in, for a guest of the express one is there for a while only.

    From the audit, one query.
    """
    moves = AuditEvent.objects.filter(
        name__in=("account_applied_now", "account_returned_to_cohort"),
        target=user.primary_address,
        at__gt=max(at, user.created_at),
    )
    first = min(moves, key=lambda event: event.pk, default=None)
    if first is None:
        return user.cohort
    left = first.name == "account_applied_now"
    return int(first.details["cohort"]) if left else EXPRESS_COHORT


def _way_up(unit_path: str) -> dict[int, OrgUnit]:
    return {unit.pk: unit for unit in OrgUnit.objects.filter(path__in=lineage(unit_path))}


def _key(change: PolicyChange) -> Key:
    return change.unit_id, change.setting


def _arrived(
    units: Mapping[int, OrgUnit], cohort: int, at: datetime | None = None
) -> dict[Key, Arrival]:
    """The newest change of each unit and setting that the cohort had; without a time, has."""
    waves = RolloutWave.objects.filter(
        cohort=cohort, applied_at__isnull=False, change__unit_id__in=units
    )
    if at is not None:
        waves = waves.filter(applied_at__lte=at)
    key = ("change__unit_id", "change__setting")
    newest = waves.order_by(*key, "-change__version").distinct(*key).select_related("change")
    return {
        _key(wave.change): Arrival(
            units[wave.change.unit_id], wave.change, wave.change.version or 0, wave.applied_at
        )
        for wave in newest
        if wave.applied_at
    }


class _Plan:
    """What is on its way to a cohort until a time, read once."""

    def __init__(self, units: Mapping[int, OrgUnit], cohort: int, at: datetime) -> None:
        self.units, self.at, self.now = units, at, database_now()
        self.delay = wave_delay(cohort, cohort_count())
        waves = RolloutWave.objects.open().filter(cohort=cohort, change__unit_id__in=units)
        self.waves = list(waves.select_related("change").order_by("due_at", "id"))
        self.starting: defaultdict[Key, list[PolicyChange]] = defaultdict(list)
        scheduled = PolicyChange.objects.scheduled().filter(unit_id__in=units, starts_at__lte=at)
        for change in scheduled:
            self.starting[_key(change)].append(change)
        saved = GatewayPolicy.objects.filter(unit_id__in=units)
        self.versions = {
            (unit_id, setting): version
            for unit_id, setting, version in saved.values_list("unit_id", "setting", "version")
        }

    @property
    def paused(self) -> list[PolicyChange]:
        return [wave.change for wave in self.waves if wave.paused_at and wave.due_at <= self.at]

    def coming(self) -> list[Arrival]:
        """What arrives by then, in order of time."""
        arrivals = [*self._started(), *self._scheduled()]
        found = [each for each in arrivals if each.at <= self.at and not self._is_stopped(each)]
        return sorted(found, key=lambda each: (each.at, each.version))

    def _started(self) -> list[Arrival]:
        return [
            self._arrival(wave.change, wave.change.version or 0, max(wave.due_at, self.now))
            for wave in self.waves
            if wave.paused_at is None
        ]

    def _scheduled(self) -> list[Arrival]:
        return [
            self._arrival(change, version, max(change.starts_at + self.delay, self.now))
            for key, changes in self.starting.items()
            for version, change in enumerate(changes, start=self.versions.get(key, 0) + 1)
        ]

    def _arrival(self, change: PolicyChange, version: int, at: datetime) -> Arrival:
        return Arrival(self.units[change.unit_id], change, version, at)

    def _is_stopped(self, arrival: Arrival) -> bool:
        """Whether a newer change with another value starts before it has come."""
        key = _key(arrival.change)
        newer = self.starting[key][max(arrival.version - self.versions.get(key, 0), 0) :]
        return any(
            max(change.starts_at, self.now) <= arrival.at and change.new != arrival.change.new
            for change in newer
        )

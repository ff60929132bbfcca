"""For single accounts: what holds, what is on its way to them, and when their answer changes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from accounts.models import OrgUnit, User
from accounts.models.people import cohort_count
from policies.guardrails import merge
from policies.models import DEFAULTS, AppliedPolicy, PolicyChange, RolloutWave, Setting
from policies.services.clock import database_now
from policies.services.waves import wave_delay

# Sweeps run every few seconds; a delay below this says nothing.
LATE = timedelta(seconds=10)

Value = Mapping[str, Any]


class Step(NamedTuple):
    """A change on its way to the account, with what holds of its setting before and from then on.

    `at` is None while it is paused. Where its wave is due, it comes by `at` with the next sweep;
    `is_late` where it should long have come.
    """

    change: PolicyChange
    at: datetime | None
    is_late: bool
    before: Value
    value: Value

    @property
    def is_scheduled(self) -> bool:
        return self.change.version is None

    @property
    def allowed(self) -> bool:
        return bool(self.value["allowed"])


class Forecast(NamedTuple):
    """Of one setting. `value` holds now; of guardrails all of them, merged.

    `rows` are the values that have reached the account, the topmost unit's first, their units
    joined. `steps` holds what comes, in order of time.
    """

    value: Value
    rows: list[AppliedPolicy]
    steps: list[Step]

    @property
    def allowed(self) -> bool:
        return bool(self.value["allowed"])

    @property
    def applied(self) -> AppliedPolicy | None:
        """The row that decides now; None where nothing is set."""
        return self.rows[-1] if self.rows else None

    @property
    def turn(self) -> Step | None:
        """The first step that changes the answer."""
        return next((step for step in self.steps if step.value != self.value), None)


class Forecasts(NamedTuple):
    """Of the settings asked for. `steps` holds what comes of all of them, in order of time.

    `hurried` is what *Apply now* brings: everything that has started, paused or not.
    """

    of: dict[str, Forecast]
    steps: list[Step]
    hurried: list[Step]


def forecast(user: User, setting: str) -> Forecast:
    """Six queries."""
    return _Coming([user], [setting]).forecasts(user).of[setting]


def forecasts(user: User) -> Forecasts:
    return forecasts_by_account([user])[user.pk]


def forecasts_by_account(users: Sequence[User]) -> dict[UUID, Forecasts]:
    """Of all settings, by the account's id. Six queries for any number (their units joined)."""
    coming = _Coming(users, Setting.values)
    return {user.pk: coming.forecasts(user) for user in users}


class _Arrival(NamedTuple):
    change: PolicyChange
    at: datetime | None
    is_late: bool


class _Coming:
    """All that concerns some accounts, read once."""

    def __init__(self, users: Sequence[User], settings: Collection[str]) -> None:
        self.settings = settings
        above = {path for user in users for path in user.unit.lineage}
        self.units = {unit.pk: unit for unit in OrgUnit.objects.filter(path__in=above)}
        of_cohorts = {"cohort__in": {user.cohort for user in users}}
        applied = AppliedPolicy.objects.filter(
            setting__in=settings, unit_id__in=self.units, value__isnull=False, **of_cohorts
        )
        self.applied: dict[tuple[int, str], list[AppliedPolicy]] = defaultdict(list)
        for row in applied.select_related("unit"):
            self.applied[row.cohort, row.unit.path].append(row)
        waves = RolloutWave.objects.open().filter(
            change__setting__in=settings, change__unit_id__in=self.units, **of_cohorts
        )
        self.waves = list(waves.select_related("change").order_by("due_at", "id"))
        self.scheduled = list(
            PolicyChange.objects.scheduled().filter(setting__in=settings, unit_id__in=self.units)
        )
        self.now = database_now()
        self.cohorts = cohort_count()

    def forecasts(self, user: User) -> Forecasts:
        above = set(user.unit.lineage)
        rows: dict[str, list[AppliedPolicy]] = {setting: [] for setting in self.settings}
        for path in reversed(user.unit.lineage):
            for row in self.applied.get((user.cohort, path), ()):
                rows[row.setting].append(row)
        waves = [
            wave
            for wave in self.waves
            if wave.cohort == user.cohort and self.units[wave.change.unit_id].path in above
        ]
        going = [self._expected(wave) for wave in waves if wave.paused_at is None]
        delay = wave_delay(user.cohort, self.cohorts)
        scheduled = [
            _Arrival(change, change.starts_at + delay, is_late=False)
            for change in self.scheduled
            if self.units[change.unit_id].path in above
        ]
        paused = [_Arrival(wave.change, None, is_late=False) for wave in waves if wave.paused_at]
        steps = self._steps(rows, [*going, *scheduled, *paused])
        of_setting = {
            setting: Forecast(
                value=_holding({row.unit.path: row.value for row in values}, setting),
                rows=values,
                steps=[step for step in steps if step.change.setting == setting],
            )
            for setting, values in rows.items()
        }
        return Forecasts(of_setting, steps, hurried=self._steps(rows, [*going, *paused]))

    def _steps(
        self, rows: Mapping[str, Iterable[AppliedPolicy]], arrivals: Iterable[_Arrival]
    ) -> list[Step]:
        values = {
            setting: {row.unit.path: row.value for row in of_setting}
            for setting, of_setting in rows.items()
        }
        steps = []
        for change, at, is_late in arrivals:
            own = values[change.setting]
            before = _holding(own, change.setting)
            own[self.units[change.unit_id].path] = change.new
            steps.append(Step(change, at, is_late, before, _holding(own, change.setting)))
        return steps

    def _expected(self, wave: RolloutWave) -> _Arrival:
        """When it is due, and by the end of the window where that was; and whether it is late."""
        waits_for = self.now - wave.due_at
        is_due = waits_for >= timedelta()
        at = wave.change.complete_by if is_due else wave.due_at
        return _Arrival(wave.change, at, is_late=waits_for >= LATE)


def _holding(values: Mapping[str, Value | None], setting: str) -> Value:
    """By the deepest unit that has a value; guardrails by all of them."""
    set_here = [value for _path, value in sorted(values.items()) if value is not None]
    if setting == Setting.GATEWAY_GUARDRAILS:
        return merge(("", 0, value) for value in set_here).as_value()
    return set_here[-1] if set_here else DEFAULTS[setting]

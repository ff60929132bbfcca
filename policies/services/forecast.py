"""For single accounts: what holds, what is on its way to them, and when their answer changes."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from accounts.models import OrgUnit, User
from accounts.models.people import cohort_count
from policies.models import DEFAULTS, AppliedPolicy, PolicyChange, RolloutWave
from policies.services.clock import database_now
from policies.services.waves import wave_delay

# Sweeps run every few seconds; a delay below this says nothing.
LATE = timedelta(seconds=10)


class Step(NamedTuple):
    """A change on its way to the account; `allowed` is the answer from then on.

    `at` is None while it is paused. Where its wave is due, it comes by `at` with the next sweep;
    `is_late` where it should long have come.
    """

    change: PolicyChange
    at: datetime | None
    allowed: bool
    is_late: bool

    @property
    def is_scheduled(self) -> bool:
        return self.change.version is None


class Forecast(NamedTuple):
    """`applied` is the row that decides now, its unit joined; None where nothing is set.

    `steps` holds what comes, in order of time; `turn` is the first that changes the answer.
    """

    allowed: bool
    applied: AppliedPolicy | None
    steps: list[Step]

    @property
    def turn(self) -> Step | None:
        return next((step for step in self.steps if step.allowed != self.allowed), None)

    @property
    def waits(self) -> bool:
        """Whether something that has started is still to come: what *Apply now* brings."""
        return any(not step.is_scheduled for step in self.steps)


def forecast(user: User, setting: str) -> Forecast:
    return forecasts([user], setting)[user.pk]


def forecasts(users: Sequence[User], setting: str) -> dict[UUID, Forecast]:
    """For each account, by its id. Six queries, however many accounts (their units joined)."""
    coming = _Coming(users, setting)
    return {user.pk: coming.forecast(user) for user in users}


class _Coming:
    """All that concerns some accounts, read once."""

    def __init__(self, users: Sequence[User], setting: str) -> None:
        self.setting = setting
        above = {path for user in users for path in user.unit.lineage}
        self.units = {unit.pk: unit for unit in OrgUnit.objects.filter(path__in=above)}
        of_cohorts = {"cohort__in": {user.cohort for user in users}}
        self.applied = list(
            AppliedPolicy.objects.filter(
                setting=setting, unit_id__in=self.units, **of_cohorts
            ).select_related("unit")
        )
        waves = RolloutWave.objects.open().filter(
            change__setting=setting, change__unit_id__in=self.units, **of_cohorts
        )
        self.waves = list(waves.select_related("change").order_by("due_at", "id"))
        self.scheduled = list(
            PolicyChange.objects.scheduled().filter(setting=setting, unit_id__in=self.units)
        )
        self.now = database_now()
        self.cohorts = cohort_count()

    def forecast(self, user: User) -> Forecast:
        above = set(user.unit.lineage)
        rows = [row for row in self.applied if row.cohort == user.cohort and row.unit.path in above]
        values = {row.unit.path: row.value for row in rows}
        allowed = _allowed(values, self.setting)
        steps = []
        for change, at, is_late in self._changes(user, above):
            values[self.units[change.unit_id].path] = change.new
            steps.append(Step(change, at, _allowed(values, self.setting), is_late))
        deciding = [row for row in rows if row.value is not None]
        return Forecast(allowed, max(deciding, key=lambda row: row.unit.depth, default=None), steps)

    def _changes(
        self, user: User, above: set[str]
    ) -> Iterator[tuple[PolicyChange, datetime | None, bool]]:
        """Waves by their time, then scheduled changes, and what is paused at the very end."""
        waves = [
            wave
            for wave in self.waves
            if wave.cohort == user.cohort and self.units[wave.change.unit_id].path in above
        ]
        for wave in waves:
            if wave.paused_at is None:
                yield wave.change, *self._expected(wave)
        for change in self.scheduled:
            if self.units[change.unit_id].path in above:
                yield change, change.starts_at + wave_delay(user.cohort, self.cohorts), False
        for wave in waves:
            if wave.paused_at:
                yield wave.change, None, False

    def _expected(self, wave: RolloutWave) -> tuple[datetime, bool]:
        """When it is due, and by the end of the window where that was; and whether it is late."""
        waits_for = self.now - wave.due_at
        is_due = waits_for >= timedelta()
        return (wave.change.complete_by if is_due else wave.due_at), waits_for >= LATE


def _allowed(values: dict[str, dict[str, Any] | None], setting: str) -> bool:
    """By the deepest unit that has a value."""
    for path in sorted(values, key=len, reverse=True):
        if (value := values[path]) is not None:
            return bool(value["allowed"])
    return bool(DEFAULTS[setting]["allowed"])

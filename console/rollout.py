"""A change on its way to the accounts: its waves, read from what is applied."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import NamedTuple
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import OrgUnit, User
from accounts.templatetags.clock import clock_seconds, clock_time, duration
from console.wording import change_title, own_value
from policies.models import PolicyChange, RolloutAction, RolloutWave
from policies.services import LATE, applied_cohorts, database_now, rollout_state

MINUTE = timedelta(minutes=1)


class Wave(NamedTuple):
    """All cohorts that are due at one time; the express cohort travels with the first wave."""

    state: str  # applied, next or planned
    due_at: datetime
    applied_at: datetime | None
    delay: timedelta
    cohorts: frozenset[int]


@dataclass
class Rollout:
    """`unit` and `author` are None where they are gone; `now` is PostgreSQL's clock.

    `state` is rollout_state, or undone: an undone change is also replaced, or was complete.
    `actions` is what was done to the change since it was saved, each with the name of who did it.
    """

    change: PolicyChange
    state: str
    unit: OrgUnit | None
    author: User | None
    applied: set[int]
    waves: list[Wave]
    replaced_at: datetime | None
    undone_by: PolicyChange | None
    actions: list[tuple[RolloutAction, str]]
    now: datetime

    @property
    def is_live(self) -> bool:
        """Whether the page asks again by itself."""
        return self.state in {"scheduled", "rolling", "paused"}

    @property
    def waves_applied(self) -> int:
        return sum(wave.state == "applied" for wave in self.waves)

    @property
    def mark(self) -> str:
        """What a page that shows this has seen."""
        return f"{self.state}-{self.waves_applied}"

    def is_news(self, seen: str | None) -> bool:
        """Whether something happened since a page that showed `seen`."""
        return seen is not None and seen != self.mark

    @property
    def paused_by(self) -> str:
        """Who paused it last."""
        paused = [each for each in self.actions if each[0].kind == RolloutAction.Kind.PAUSED]
        return paused[-1][1] if paused else ""

    @property
    def paused_at(self) -> datetime | None:
        paused = [each for each in self.actions if each[0].kind == RolloutAction.Kind.PAUSED]
        return paused[-1][0].at if paused else None

    @property
    def ticks(self) -> list[str]:
        return [wave.state for wave in self.waves]

    @property
    def sentence(self) -> str:
        if not self.waves:
            return _("Not started")
        return ngettext(
            "%(applied)d of %(total)d wave applied",
            "%(applied)d of %(total)d waves applied",
            len(self.waves),
        ) % {"applied": self.waves_applied, "total": len(self.waves)}

    @property
    def completed_at(self) -> datetime | None:
        """When the last wave arrived, as far as that is known."""
        return max((wave.applied_at for wave in self.waves if wave.applied_at), default=None)

    @property
    def is_overdue(self) -> bool:
        return self.now > self.change.complete_by

    @property
    def timing(self) -> str:
        """How far the promised time is: "in 34 min" or "3 min late"."""
        if self.is_overdue:
            return _late_by(self.now - self.change.complete_by)
        return _("in %(duration)s") % {"duration": duration(self.change.complete_by - self.now)}

    @property
    def author_name(self) -> str:
        return self.author.name if self.author else self.change.actor_address

    @property
    def unit_name(self) -> str:
        return self.unit.name if self.unit else self.change.unit_path

    @property
    def title(self) -> str:
        return change_title(self.change.setting, self.change.new, self.unit_name)

    @property
    def old_text(self) -> str:
        return own_value(self.change.setting, self.change.old, at_root=self._at_root)

    @property
    def new_text(self) -> str:
        return own_value(self.change.setting, self.change.new, at_root=self._at_root)

    @property
    def _at_root(self) -> bool:
        return self.unit is not None and self.unit.is_root()


def load_rollouts(changes: Iterable[PolicyChange]) -> list[Rollout]:
    """Seven queries, however many changes."""
    changes = list(changes)
    rows = _Rows(changes)
    return [rows.rollout(change) for change in changes]


def load_rollout(change: PolicyChange) -> Rollout:
    return load_rollouts([change])[0]


class _Rows:
    """All that the rollouts of some changes are made of, read once."""

    def __init__(self, changes: Sequence[PolicyChange]) -> None:
        self.waves: dict[int, list[RolloutWave]] = {change.pk: [] for change in changes}
        waves = RolloutWave.objects.filter(change_id__in=self.waves)
        for wave in waves.order_by("due_at", "cohort"):
            self.waves[wave.change_id].append(wave)
        self.actions: dict[int, list[RolloutAction]] = {change.pk: [] for change in changes}
        for action in RolloutAction.objects.filter(change_id__in=self.actions):
            self.actions[action.change_id].append(action)
        undos = PolicyChange.objects.filter(undoes_id__in=self.waves)
        self.undos = {undo.undoes_id: undo for undo in undos}
        self.applied = applied_cohorts(changes)
        self.units = OrgUnit.objects.in_bulk([change.unit_id for change in changes])
        self.people = User.objects.in_bulk(self._people(changes))
        self.now = database_now()

    def _people(self, changes: Sequence[PolicyChange]) -> set[UUID]:
        actions = [action for of_change in self.actions.values() for action in of_change]
        ids = {change.actor_id for change in changes} | {action.actor_id for action in actions}
        return {actor_id for actor_id in ids if actor_id}

    def rollout(self, change: PolicyChange) -> Rollout:
        rows = self.waves[change.pk]
        replaced_at = max((row.superseded_at for row in rows if row.superseded_at), default=None)
        unit, undone_by = self.units.get(change.unit_id), self.undos.get(change.pk)
        # What was applied to a unit goes with it; its waves stay.
        came = {row.cohort for row in rows if row.applied_at}
        reached = self.applied[change.pk] if unit else came
        # A cohort that a newer change reached instead has that one, not this.
        has_it = reached - {row.cohort for row in rows if row.superseded_at}
        waves = [
            _wave(due_at, list(group), has_it, self.now)
            for due_at, group in groupby(rows, key=lambda row: row.due_at)
        ]
        return Rollout(
            change=change,
            state="undone" if undone_by else rollout_state(change, rows),
            unit=unit,
            author=self.people.get(change.actor_id) if change.actor_id else None,
            applied=has_it,
            waves=waves if replaced_at else _mark_next(waves),
            replaced_at=replaced_at,
            undone_by=undone_by,
            actions=[(action, self._name(action)) for action in self.actions[change.pk]],
            now=self.now,
        )

    def _name(self, action: RolloutAction) -> str:
        person = self.people.get(action.actor_id) if action.actor_id else None
        return person.name if person else action.actor_address


def _wave(due_at: datetime, rows: list[RolloutWave], has_it: set[int], now: datetime) -> Wave:
    cohorts = frozenset(row.cohort for row in rows)
    applied_at = max((row.applied_at for row in rows if row.applied_at), default=None)
    state = "applied" if cohorts <= has_it else "planned"
    return Wave(state, due_at, applied_at, (applied_at or now) - due_at, cohorts)


def _mark_next(waves: list[Wave]) -> list[Wave]:
    following = next((wave for wave in waves if wave.state == "planned"), None)
    return [wave._replace(state="next") if wave is following else wave for wave in waves]


class WaveColumn(NamedTuple):
    """A wave as the page draws it; `now_percent` is where "now" lies in it, or None."""

    state: str
    time: str
    accounts: int
    late: str
    now_percent: int | None


def wave_columns(rollout: Rollout, accounts: Mapping[int, int]) -> list[WaveColumn]:
    """The waves with their accounts, given by cohort; those that a newer change stopped too."""
    if not rollout.waves:
        return []
    ends = [wave.due_at for wave in rollout.waves[1:]] + [rollout.change.complete_by]
    clock = _clock(rollout.waves)
    return [
        WaveColumn(
            state="dropped" if rollout.replaced_at and wave.state != "applied" else wave.state,
            time=clock(wave.due_at),
            accounts=sum(accounts.get(cohort, 0) for cohort in wave.cohorts),
            late=_late(rollout, wave),
            now_percent=_now_percent(rollout, wave.due_at, end),
        )
        for wave, end in zip(rollout.waves, ends, strict=True)
    ]


def _clock(waves: Sequence[Wave]) -> Callable[[datetime], str]:
    """With seconds where two waves would else stand at one time."""
    steps = (later.due_at - earlier.due_at for earlier, later in pairwise(waves))
    return clock_seconds if min(steps, default=MINUTE) < MINUTE else clock_time


def _late(rollout: Rollout, wave: Wave) -> str:
    """Nothing of a wave that nobody waits for yet: what is paused is not late."""
    waits = wave.state == "planned" or (wave.state == "next" and rollout.state == "paused")
    return "" if waits or wave.delay < LATE else _late_by(wave.delay)


def _late_by(delay: timedelta) -> str:
    return _("%(duration)s late") % {"duration": duration(delay)}


def _now_percent(rollout: Rollout, start: datetime, end: datetime) -> int | None:
    if rollout.state != "rolling" or not start <= rollout.now < end:
        return None
    return int((rollout.now - start) / (end - start) * 100)


class Event(NamedTuple):
    time: datetime
    text: str


def history(rollout: Rollout, accounts: Mapping[int, int]) -> list[Event]:
    """What happened to a change, newest first."""
    change = rollout.change
    saved = _("%(person)s saved change %(change)d") % {
        "person": rollout.author_name,
        "change": change.pk,
    }
    events = [Event(change.created_at, saved)]
    events += [_acted(action, person) for action, person in rollout.actions]
    for number, wave in enumerate(rollout.waves, start=1):
        if wave.state == "applied" and wave.applied_at:
            events.append(Event(wave.applied_at, _wave_applied(number, wave, accounts)))
    if rollout.replaced_at and not rollout.undone_by:
        events.append(Event(rollout.replaced_at, _("A newer change replaced this one")))
    return sorted(events, key=lambda event: event.time, reverse=True)


DONE: dict[str, Callable[[], str]] = {
    RolloutAction.Kind.STARTED: lambda: _("It started, as scheduled"),
    RolloutAction.Kind.RESCHEDULED: lambda: _("%(person)s changed its time"),
    RolloutAction.Kind.CANCELLED: lambda: _("%(person)s cancelled it"),
    RolloutAction.Kind.PAUSED: lambda: _("%(person)s paused it"),
    RolloutAction.Kind.RESUMED: lambda: _("%(person)s resumed it"),
    RolloutAction.Kind.APPLIED_NOW: lambda: _("%(person)s applied it to everybody at once"),
    RolloutAction.Kind.UNDONE: lambda: _("%(person)s undid it"),
}


def _acted(action: RolloutAction, person: str) -> Event:
    text = DONE[action.kind]() % {"person": person or _("Outgate")}
    return Event(action.at, f"{text}: {action.reason}" if action.reason else text)


def _wave_applied(number: int, wave: Wave, accounts: Mapping[int, int]) -> str:
    count = sum(accounts.get(cohort, 0) for cohort in wave.cohorts)
    text = ngettext(
        "Wave %(number)d applied, %(count)d account",
        "Wave %(number)d applied, %(count)d accounts",
        count,
    ) % {"number": number, "count": count}
    return text if wave.delay < LATE else f"{text}, {_late_by(wave.delay)}"

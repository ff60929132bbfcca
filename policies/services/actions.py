"""What an administrator can do to a change that is saved: each by one of them at a time.

Every action names the state that its page showed, as the number of actions before it. Whoever
comes second hears who was first, and nothing is done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.services.audit import Actor, record_event
from accounts.templatetags.clock import clock_time
from policies.models import GatewayPolicy, PolicyChange, RolloutAction
from policies.services.changes import check_start, lock_unit, new_changes, newest_change
from policies.services.clock import database_now
from policies.services.starting import end_without_start, note, save_and_start, start
from policies.services.waves import (
    bring_waves_forward,
    hold_waves,
    release_waves,
    rollout_state,
    window,
)

Kind = RolloutAction.Kind

# What can be done in which state; an undo besides asks that no newer change has started.
POSSIBLE: dict[str, tuple[str, ...]] = {
    "scheduled": (Kind.APPLIED_NOW, Kind.RESCHEDULED, Kind.CANCELLED),
    "rolling": (Kind.PAUSED, Kind.APPLIED_NOW, Kind.UNDONE),
    "paused": (Kind.RESUMED, Kind.APPLIED_NOW, Kind.UNDONE),
    "complete": (Kind.UNDONE,),
    "replaced": (),
    "cancelled": (),
}


def pause(*, actor: Actor, change: PolicyChange, based_on: int, reason: str = "") -> PolicyChange:
    """No open wave of the change comes until it is resumed."""
    with _acting(actor, change, based_on, Kind.PAUSED, reason) as (_unit, current):
        hold_waves(current)
    return current


def resume(*, actor: Actor, change: PolicyChange, based_on: int, reason: str = "") -> PolicyChange:
    """The rest goes out as gradually as it was to, later by the time that it was paused."""
    with _acting(actor, change, based_on, Kind.RESUMED, reason) as (_unit, current):
        release_waves(current)
    return current


def apply_now(
    *, actor: Actor, change: PolicyChange, based_on: int, reason: str = ""
) -> PolicyChange:
    """Every wave that is still to come is due now; a scheduled change starts now."""
    with _acting(actor, change, based_on, Kind.APPLIED_NOW, reason) as (unit, current):
        if current.version is None:
            current.starts_at = database_now()
            current.save(update_fields=["starts_at"])
            start(actor, unit, current)
        bring_waves_forward(current)
    return current


def reschedule(
    *,
    actor: Actor,
    change: PolicyChange,
    based_on: int,
    starts_at: datetime,
    reason: str = "",
) -> PolicyChange:
    """A change that has not started starts at another time."""
    with _acting(actor, change, based_on, Kind.RESCHEDULED, reason) as (_unit, current):
        current.starts_at = check_start(starts_at)
        current.complete_by = starts_at + window()
        current.save(update_fields=["starts_at", "complete_by"])
    return current


def cancel(*, actor: Actor, change: PolicyChange, based_on: int, reason: str = "") -> PolicyChange:
    """A change that has not started never does."""
    with transaction.atomic():
        unit, current = _checked(actor, change, based_on, Kind.CANCELLED)
        end_without_start(actor, unit, current, reason)
    return current


def undo(*, actor: Actor, change: PolicyChange, based_on: int, reason: str = "") -> PolicyChange:
    """Save the value that was there before; returns that new change.

    Cohorts that have the undone change lose it at once, all of them where it was complete; the
    others never get it. Only where the change had itself stopped an older one on its way is there
    something left to bring: that goes out gradually.
    """
    with _acting(actor, change, based_on, Kind.UNDONE, reason) as (unit, current):
        _refuse_to_undo(unit, current)
        changes = new_changes(
            actor,
            [unit],
            current.setting,
            {unit.pk: current.new},
            current.old,
            reason,
            database_now(),
            undoes=current,
        )
        save_and_start(actor, [unit], changes)
    return changes[0]


def possible_actions(state: str) -> tuple[str, ...]:
    return POSSIBLE[state]


@contextmanager
def _acting(
    actor: Actor, change: PolicyChange, based_on: int, kind: str, reason: str
) -> Iterator[tuple[OrgUnit, PolicyChange]]:
    """The unit and the change as they are now, locked; then what was done is noted and audited."""
    with transaction.atomic():
        unit, current = _checked(actor, change, based_on, kind)
        yield unit, current
        note(actor, current, kind, reason)
        record_event(
            actor,
            f"policy_rollout_{kind}",
            current.unit_path,
            unit=unit,
            setting=current.setting,
            change=current.pk,
            starts_at=current.starts_at.isoformat(),
            complete_by=current.complete_by.isoformat(),
            reason=reason,
        )


def _checked(
    actor: Actor, change: PolicyChange, based_on: int, kind: str
) -> tuple[OrgUnit, PolicyChange]:
    unit = lock_unit(actor, change.unit_id)
    current = PolicyChange.objects.get(pk=change.pk)
    done = list(current.actions.all())
    state = rollout_state(current, current.waves.all())
    if kind not in POSSIBLE[state]:
        raise ValidationError(_why_not(unit, current, state, done))
    if len(done) != based_on:
        raise ValidationError(_acted_meanwhile(done))
    return unit, current


def _why_not(unit: OrgUnit, change: PolicyChange, state: str, done: list[RolloutAction]) -> str:
    reasons: dict[str, Callable[[], str]] = {
        "replaced": lambda: _replaced(unit, change),
        "cancelled": lambda: _("It was cancelled before it started. Save the value again."),
        "complete": lambda: _("Everybody has it already, so nothing is on its way."),
        "scheduled": lambda: _("It has not started yet. Cancel it, or change its time."),
        "paused": lambda: _acted_meanwhile(done),
        "rolling": lambda: (
            _acted_meanwhile(done)
            if done
            else _("It rolls out now, so there is nothing to resume, to cancel or to reschedule.")
        ),
    }
    return reasons[state]()


def _replaced(unit: OrgUnit, change: PolicyChange) -> str:
    newest = newest_change(unit, change.setting)
    return _(
        "Change %(newest)d replaced this one at %(time)s, so its remaining waves never come. "
        "Save the value again if it is still wanted."
    ) % {
        "newest": newest.pk if newest else change.pk,
        "time": clock_time(newest.created_at if newest else change.created_at),
    }


DONE: dict[str, Callable[[], str]] = {
    Kind.STARTED: lambda: _("The change started by itself at %(time)s."),
    Kind.RESCHEDULED: lambda: _("%(who)s changed its time at %(time)s."),
    Kind.CANCELLED: lambda: _("%(who)s cancelled it at %(time)s."),
    Kind.PAUSED: lambda: _("%(who)s paused it at %(time)s."),
    Kind.RESUMED: lambda: _("%(who)s resumed it at %(time)s."),
    Kind.APPLIED_NOW: lambda: _("%(who)s applied it to everybody at %(time)s."),
    Kind.UNDONE: lambda: _("%(who)s undid it at %(time)s."),
}


def _acted_meanwhile(done: list[RolloutAction]) -> str:
    """Who came first. Without any action, the page named one that nobody has done."""
    nothing = _("Nothing was done. Look at the change as it is now, then decide.")
    if not done:
        return nothing
    last = done[-1]
    told = DONE[last.kind]() % {"who": last.actor_address, "time": clock_time(last.at)}
    return f"{told} {nothing}"


def _refuse_to_undo(unit: OrgUnit, change: PolicyChange) -> None:
    policy = GatewayPolicy.objects.get(unit=unit, setting=change.setting)
    if policy.version != change.version:
        raise ValidationError(_replaced_after_completion(unit, change))
    if change.undoes_id:
        # Everybody would get at once what was taken from a few.
        raise ValidationError(
            _("This change is itself an undo. Save the value again instead: it rolls out anew.")
        )
    if change.old == change.new:
        raise ValidationError(
            _("The value was the same before, so there is nothing to go back to.")
        )


def _replaced_after_completion(unit: OrgUnit, change: PolicyChange) -> str:
    newest = newest_change(unit, change.setting)
    return _("Change %(newest)d came after this one. Undo that one, or save another value.") % {
        "newest": newest.pk if newest else change.pk
    }

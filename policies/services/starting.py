"""Starting a change: its version, what the unit is set to from then on, and its waves."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, User
from accounts.services.audit import SYSTEM, Actor, Event, record_event, record_events
from policies.models import GatewayPolicy, PolicyChange, RolloutAction
from policies.services.waves import cohorts_undone_at_once, plan_waves, supersede_older_waves


class Saved(NamedTuple):
    """What a unit is set to: NULL for inherit, version 0 where it never had a value."""

    value: dict[str, Any] | None
    version: int


def saved_of(units: Sequence[OrgUnit], setting: str) -> dict[int, Saved]:
    """What each unit is set to, by its id: one query."""
    rows = GatewayPolicy.objects.filter(unit__in=[unit.pk for unit in units], setting=setting)
    found = {
        unit_id: Saved(value, version)
        for unit_id, value, version in rows.values_list("unit_id", "value", "version")
    }
    return {unit.pk: found.get(unit.pk, Saved(None, 0)) for unit in units}


def save_and_start(actor: Actor, units: Sequence[OrgUnit], changes: Sequence[PolicyChange]) -> None:
    """Start changes of one setting that are not saved yet, one for each unit. They are locked."""
    if not changes:
        return
    _take_versions(units, changes)
    PolicyChange.objects.bulk_create(changes)
    _roll_out(actor, units, changes)


def start(actor: Actor, unit: OrgUnit, change: PolicyChange) -> None:
    """Start a change that was scheduled. Its unit is locked."""
    _take_versions([unit], [change])
    change.save(update_fields=["old", "version"])
    _roll_out(actor, [unit], [change])


def _take_versions(units: Sequence[OrgUnit], changes: Sequence[PolicyChange]) -> None:
    """The next one for each change; from now on it is what its unit is set to."""
    saved = saved_of(units, changes[0].setting)
    policies = []
    for change in changes:
        change.old, version = saved[change.unit_id]
        change.version = version + 1
        policies.append(
            GatewayPolicy(
                unit_id=change.unit_id,
                setting=change.setting,
                value=change.new,
                version=change.version,
            )
        )
    GatewayPolicy.objects.bulk_create(
        policies,
        update_conflicts=True,
        unique_fields=["unit", "setting"],
        update_fields=["value", "version"],
    )


def _roll_out(actor: Actor, units: Sequence[OrgUnit], changes: Sequence[PolicyChange]) -> None:
    """Lay out the waves that carry the changes; what older ones had left to bring ends."""
    record(actor, "policy_changed", units, changes)
    supersede_older_waves(changes)
    undos = [change for change in changes if change.undoes_id]
    for undo in undos:
        plan_waves([undo], at_once=cohorts_undone_at_once(undo))
    if len(undos) < len(changes):
        plan_waves([change for change in changes if not change.undoes_id])


def start_due_changes(unit_id: int) -> int:
    """Start the unit's scheduled changes whose time has come; returns how many.

    Together under the unit's lock, so that those that waited for a dead worker start in the order
    of their times. What was scheduled for a unit that is gone is cancelled.
    """
    with transaction.atomic():
        unit = OrgUnit.objects.select_for_update(no_key=True).filter(pk=unit_id).first()
        due = list(PolicyChange.objects.due().filter(unit_id=unit_id).select_for_update())
        for change in due:
            if unit is None:
                end_without_start(SYSTEM, None, change, _("The unit no longer exists."))
            else:
                note(SYSTEM, change, RolloutAction.Kind.STARTED)
                start(_author(change), unit, change)
    return len(due)


def end_without_start(
    actor: Actor, unit: OrgUnit | None, change: PolicyChange, reason: str
) -> None:
    """`unit` is None where it is gone."""
    PolicyChange.objects.filter(pk=change.pk).update(cancelled_at=Now())
    note(actor, change, RolloutAction.Kind.CANCELLED, reason)
    record_event(
        actor,
        "policy_change_cancelled",
        change.unit_path,
        unit=unit,
        setting=change.setting,
        change=change.pk,
        reason=reason,
    )


def note(actor: Actor, change: PolicyChange, kind: str, reason: str = "") -> None:
    """Add to the history of a change what was done to it."""
    RolloutAction.objects.create(
        change=change,
        kind=kind,
        actor_id=actor.user.pk if actor.user else None,
        actor_address=actor.user.primary_address if actor.user else "",
        reason=reason,
    )


def _author(change: PolicyChange) -> Actor:
    """Who scheduled it; the audit names nobody where that account is gone."""
    users = User.objects.in_bulk([change.actor_id] if change.actor_id else [])
    return Actor(next(iter(users.values()), None))


def record(
    actor: Actor, name: str, units: Sequence[OrgUnit], changes: Sequence[PolicyChange]
) -> None:
    """One event for each change; `units` are theirs, in the same order."""
    events = [
        Event(unit, change.unit_path, _details(change))
        for unit, change in zip(units, changes, strict=True)
    ]
    record_events(actor, name, events)


def _details(change: PolicyChange) -> dict[str, Any]:
    details = {
        "setting": change.setting,
        "old": change.old,
        "new": change.new,
        "reason": change.reason,
        "change": change.pk,
    }
    if change.undoes_id:
        details["undoes"] = change.undoes_id
    if change.version is None:
        details["starts_at"] = change.starts_at.isoformat()
    return details

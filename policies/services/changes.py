"""Saving a change, at once or for later, and starting it when its time has come."""

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, Privilege, User
from accounts.models.directory import path_names
from accounts.services.audit import SYSTEM, Actor, record_event
from accounts.services.rights import administers
from accounts.templatetags.clock import clock_time
from policies.guardrails import check_guardrails
from policies.models import GatewayPolicy, PolicyChange, RolloutAction, Setting
from policies.services.clock import database_now
from policies.services.waves import (
    cohorts_undone_at_once,
    plan_waves,
    supersede_older_waves,
    window,
)

# Nobody plans further; and a date that no calendar has is refused with the same words.
FURTHEST = timedelta(days=366)


class StalePolicyError(Exception):
    """Somebody saved the same setting meanwhile; `newest` is that change.

    None where there is no change at all: the form named a version that never was.
    """

    def __init__(self, newest: PolicyChange | None) -> None:
        super().__init__(newest)
        self.newest = newest


def change_policy(
    *,
    actor: Actor,
    unit: OrgUnit,
    setting: str,
    value: dict[str, Any] | None,
    based_on: int,
    reason: str = "",
    starts_at: datetime | None = None,
) -> PolicyChange | None:
    """Save a value (None: inherit) for a unit; it starts at once, or at `starts_at`.

    `based_on` is the version that the administrator saw, 0 where there was none. Returns None, and
    writes nothing, where the unit already has that value, unless it is for later: who knows what
    the unit has then. Raises PermissionDenied for somebody who does not administer the unit,
    StalePolicyError where `based_on` is no longer the newest, ValidationError where the unit is
    gone or the time has passed.
    """
    if setting == Setting.GATEWAY_GUARDRAILS and value is not None:
        check_guardrails(value)
    with transaction.atomic():
        unit = lock_unit(actor, unit.pk)
        policy = _policy(unit.pk, setting)
        if (policy.version if policy else 0) != based_on:
            raise StalePolicyError(newest_change(unit, setting))
        old = policy.value if policy else None
        if starts_at is None and value == old:
            return None
        begins = check_start(starts_at) if starts_at else database_now()
        change = record_change(actor, unit, setting, old, value, reason, begins)
        if starts_at is None:
            start(actor, unit, change)
        else:
            _record(actor, "policy_change_scheduled", unit, change)
    return change


def lock_unit(actor: Actor, unit_id: int) -> OrgUnit:
    """The unit, and nobody else changes its settings until the transaction ends."""
    # Not the key: an applied row that names the unit must not wait for this one's waves.
    unit = OrgUnit.objects.select_for_update(no_key=True).filter(pk=unit_id).first()
    if unit is None:
        raise ValidationError(_("This unit no longer exists, so nothing was changed."))
    if actor.user is None or not administers(actor.user, unit, Privilege.MAIL_SETTINGS):
        raise PermissionDenied(_("You don't administer this unit."))
    locked: OrgUnit = unit
    return locked


def check_start(moment: datetime) -> datetime:
    """The time, if a change can be scheduled for it by PostgreSQL's clock."""
    now = database_now()
    if moment <= now:
        raise ValidationError(
            _("That time has passed: it is %(now)s now. Choose a later time.")
            % {"now": clock_time(now)}
        )
    if moment > now + FURTHEST:
        raise ValidationError(_("That is more than a year away. Choose an earlier time."))
    return moment


def record_change(
    actor: Actor,
    unit: OrgUnit,
    setting: str,
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    reason: str,
    starts_at: datetime,
    undoes: PolicyChange | None = None,
) -> PolicyChange:
    return PolicyChange.objects.create(
        actor_id=actor.user.pk if actor.user else None,
        actor_address=actor.user.primary_address if actor.user else "",
        unit_id=unit.pk,
        unit_path=path_names(unit),
        setting=setting,
        old=old,
        new=new,
        reason=reason,
        undoes=undoes,
        starts_at=starts_at,
        complete_by=starts_at + window(),
    )


def start(actor: Actor, unit: OrgUnit, change: PolicyChange) -> None:
    """Give a change its version and lay out the waves that carry it. Its unit is locked."""
    policy = _policy(change.unit_id, change.setting)
    change.old = policy.value if policy else None
    change.version = (policy.version if policy else 0) + 1
    change.save(update_fields=["old", "version"])
    GatewayPolicy.objects.update_or_create(
        unit_id=change.unit_id,
        setting=change.setting,
        defaults={"value": change.new, "version": change.version},
    )
    _record(actor, "policy_changed", unit, change)
    supersede_older_waves(change)
    plan_waves(change, at_once=cohorts_undone_at_once(change))


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


def newest_change(unit: OrgUnit, setting: str) -> PolicyChange | None:
    changes = PolicyChange.objects.filter(unit_id=unit.pk, setting=setting, version__isnull=False)
    return changes.order_by("-version").first()


def scheduled_changes(unit: OrgUnit, setting: str) -> list[PolicyChange]:
    return list(PolicyChange.objects.scheduled().filter(unit_id=unit.pk, setting=setting))


def _policy(unit_id: int, setting: str) -> GatewayPolicy | None:
    return GatewayPolicy.objects.filter(unit_id=unit_id, setting=setting).first()


def _author(change: PolicyChange) -> Actor:
    """Who scheduled it; the audit names nobody where that account is gone."""
    users = User.objects.in_bulk([change.actor_id] if change.actor_id else [])
    return Actor(next(iter(users.values()), None))


def _record(actor: Actor, name: str, unit: OrgUnit, change: PolicyChange) -> None:
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
    record_event(actor, name, change.unit_path, unit=unit, **details)

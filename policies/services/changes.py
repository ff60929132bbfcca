"""Saving changes, to start at once or later."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, Privilege
from accounts.models.directory import paths_by_unit
from accounts.services.audit import Actor
from accounts.services.rights import NOTHING, rights_of
from accounts.templatetags.clock import clock_time
from policies.guardrails import check_guardrails
from policies.models import PolicyChange, Setting
from policies.services.clock import database_now
from policies.services.starting import record, save_and_start, saved_of
from policies.services.waves import window

# Nobody plans further; and a date that no calendar has is refused with the same words.
FURTHEST = timedelta(days=366)


class StalePolicyError(Exception):
    """Somebody saved the same setting meanwhile; `newest` is that change.

    None where there is no change at all: the form named a version that never was.
    """

    def __init__(self, newest: PolicyChange | None) -> None:
        super().__init__(newest)
        self.newest = newest


class MovedUnitError(Exception):
    """The unit stands elsewhere than the administrator saw it; `unit` is as it is now."""

    def __init__(self, unit: OrgUnit) -> None:
        super().__init__(unit)
        self.unit = unit


class UnitGoneError(ValidationError):
    pass


def change_policy(
    *,
    actor: Actor,
    unit: OrgUnit,
    setting: str,
    value: dict[str, Any] | None,
    based_on: int,
    reason: str = "",
    starts_at: datetime | None = None,
    seen_path: str | None = None,
) -> PolicyChange | None:
    """Save a value (None: inherit) for a unit; it starts at once, or at `starts_at`.

    `based_on` is the version that the administrator saw, 0 where there was none; `seen_path` the
    path of the unit then, None where that is not known. Returns None, and writes nothing, where the
    unit already has that value, unless it is for later: who knows what the unit has then. Raises
    PermissionDenied for somebody who does not administer the unit, UnitGoneError, MovedUnitError,
    StalePolicyError where `based_on` is no longer the newest, ValidationError where the time has
    passed.
    """
    changes = change_policies(
        actor=actor,
        based_on={unit.pk: based_on},
        setting=setting,
        value=value,
        reason=reason,
        starts_at=starts_at,
        seen_paths={} if seen_path is None else {unit.pk: seen_path},
    )
    return changes[0] if changes else None


def change_policies(
    *,
    actor: Actor,
    based_on: Mapping[int, int],
    setting: str,
    value: dict[str, Any] | None,
    reason: str = "",
    starts_at: datetime | None = None,
    seen_paths: Mapping[int, str] = MappingProxyType({}),
) -> list[PolicyChange]:
    """As change_policy for many units: for all of them, or for none where one can't be changed.

    `based_on` holds for each unit, by its id, the version that was seen, `seen_paths` the path,
    where that is known. Returns the changes, in the order of the units' ids. As many statements for
    a thousand units as for one.
    """
    if setting == Setting.GATEWAY_GUARDRAILS and value is not None:
        check_guardrails(value)
    with transaction.atomic():
        units = lock_units(actor, based_on)
        for unit in units:
            if seen_paths.get(unit.pk, unit.path) != unit.path:
                raise MovedUnitError(unit)
        saved = saved_of(units, setting)
        for unit in units:
            if saved[unit.pk].version != based_on[unit.pk]:
                raise StalePolicyError(newest_change(unit, setting))
        if starts_at is None:
            units = [unit for unit in units if saved[unit.pk].value != value]
        begins = check_start(starts_at) if starts_at else database_now()
        old = {unit.pk: saved[unit.pk].value for unit in units}
        changes = new_changes(actor, units, setting, old, value, reason, begins)
        if starts_at is None:
            save_and_start(actor, units, changes)
        else:
            PolicyChange.objects.bulk_create(changes)
            record(actor, "policy_change_scheduled", units, changes)
    return changes


def lock_unit(actor: Actor, unit_id: int) -> OrgUnit:
    """The unit, and nobody else changes its settings until the transaction ends."""
    [unit] = lock_units(actor, [unit_id])
    return unit


def lock_units(actor: Actor, unit_ids: Collection[int]) -> list[OrgUnit]:
    """As lock_unit, in the order of their ids: so nobody waits for another that waits for him."""
    # Not the key: an applied row that names the unit must not wait for this one's waves.
    locked = OrgUnit.objects.select_for_update(no_key=True).filter(pk__in=unit_ids)
    units = list(locked.order_by("pk"))
    if len(units) < len(unit_ids):
        raise UnitGoneError(_("This unit no longer exists, so nothing was changed."))
    rights = rights_of(actor.user) if actor.user else NOTHING
    if not all(rights.reach(unit.path, Privilege.MAIL_SETTINGS) for unit in units):
        raise PermissionDenied(_("You don't administer this unit."))
    return units


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


def new_changes(
    actor: Actor,
    units: Sequence[OrgUnit],
    setting: str,
    old: Mapping[int, dict[str, Any] | None],
    new: dict[str, Any] | None,
    reason: str,
    starts_at: datetime,
    undoes: PolicyChange | None = None,
) -> list[PolicyChange]:
    """One for each unit, not saved yet. `old` is by the unit's id."""
    paths = paths_by_unit(units)
    return [
        PolicyChange(
            actor_id=actor.user.pk if actor.user else None,
            actor_address=actor.user.primary_address if actor.user else "",
            unit_id=unit.pk,
            unit_path=paths[unit.pk],
            setting=setting,
            old=old[unit.pk],
            new=new,
            reason=reason,
            undoes=undoes,
            starts_at=starts_at,
            complete_by=starts_at + window(),
        )
        for unit in units
    ]


def newest_change(unit: OrgUnit, setting: str) -> PolicyChange | None:
    changes = PolicyChange.objects.filter(unit_id=unit.pk, setting=setting, version__isnull=False)
    return changes.order_by("-version").first()


def scheduled_changes(unit: OrgUnit, setting: str) -> list[PolicyChange]:
    return list(PolicyChange.objects.scheduled().filter(unit_id=unit.pk, setting=setting))

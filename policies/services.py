"""Changing a unit's setting, carrying the change to the cohorts, and asking what holds."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.models.directory import path_names
from accounts.models.people import EXPRESS_COHORT, cohort_count
from accounts.services.audit import Actor, record_event
from accounts.services.people import administers
from policies.models import (
    DEFAULTS,
    AppliedPolicy,
    GatewayPolicy,
    PolicyChange,
    RolloutWave,
)

# Waves fill this part of the window; the rest is slack for a worker or beat that was away.
WAVES_SHARE = 0.75


class StalePolicyError(Exception):
    """Somebody saved the same setting meanwhile; `newest` is that change.

    None where there is no change at all: the form named a version that never was.
    """

    def __init__(self, newest: PolicyChange | None) -> None:
        super().__init__(newest)
        self.newest = newest


class Effective(NamedTuple):
    """A value, the unit that decided it (None: the default), and the version it came with."""

    value: dict[str, Any]
    unit: OrgUnit | None
    version: int

    @property
    def allowed(self) -> bool:
        return bool(self.value["allowed"])


class Progress(NamedTuple):
    """How many of the ordinary cohorts a change has reached, from the applied rows."""

    applied: int
    total: int

    @property
    def complete(self) -> bool:
        return self.applied == self.total


def change_policy(
    *,
    actor: Actor,
    unit: OrgUnit,
    setting: str,
    value: dict[str, Any] | None,
    based_on: int,
    reason: str = "",
) -> PolicyChange | None:
    """Save a value (None: inherit) for a unit and lay out the waves that carry it.

    `based_on` is the version that the administrator saw, 0 where there was none. Returns None, and
    writes nothing, where the unit already has that value. Raises PermissionDenied for somebody who
    does not administer the unit, StalePolicyError where `based_on` is no longer the newest.
    """
    with transaction.atomic():
        # Not the key: an applied row that names the unit must not wait for this one's waves.
        unit = OrgUnit.objects.select_for_update(no_key=True).get(pk=unit.pk)
        if actor.user is None or not administers(actor.user, unit):
            raise PermissionDenied(_("You don't administer this unit."))
        policy = GatewayPolicy.objects.filter(unit=unit, setting=setting).first()
        version = policy.version if policy else 0
        if version != based_on:
            raise StalePolicyError(newest_change(unit, setting))
        old = policy.value if policy else None
        if value == old:
            return None
        GatewayPolicy.objects.update_or_create(
            unit=unit, setting=setting, defaults={"value": value, "version": version + 1}
        )
        change = _record_change(actor, unit, setting, old, value, reason, version + 1)
        _supersede_older_waves(change)
        _plan_waves(change)
    return change


def _record_change(
    actor: Actor,
    unit: OrgUnit,
    setting: str,
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    reason: str,
    version: int,
) -> PolicyChange:
    now = _database_now()
    change = PolicyChange.objects.create(
        actor_id=actor.user.pk if actor.user else None,
        actor_address=actor.user.primary_address if actor.user else "",
        unit_id=unit.pk,
        unit_path=path_names(unit),
        setting=setting,
        old=old,
        new=new,
        reason=reason,
        version=version,
        starts_at=now,
        complete_by=now + timedelta(seconds=settings.OUTGATE_ROLLOUT_WINDOW),
    )
    record_event(
        actor,
        "policy_changed",
        change.unit_path,
        unit_id=unit.pk,
        setting=setting,
        old=old,
        new=new,
        reason=reason,
        change=change.pk,
    )
    return change


def _supersede_older_waves(change: PolicyChange) -> None:
    # By ids, not by a join: then PostgreSQL looks once more whether a wave that it had to wait for
    # is still open.
    older = PolicyChange.objects.filter(
        unit_id=change.unit_id, setting=change.setting, version__lt=change.version
    )
    RolloutWave.objects.open().filter(change_id__in=older.values("pk")).update(superseded_at=Now())


def _plan_waves(change: PolicyChange) -> None:
    """The express cohort at once, the others evenly from now to three quarters of the window."""
    cohorts = cohort_count()
    step = settings.OUTGATE_ROLLOUT_WINDOW * WAVES_SHARE / max(cohorts - 1, 1)
    RolloutWave.objects.bulk_create(
        RolloutWave(
            change=change,
            cohort=cohort,
            due_at=change.starts_at + timedelta(seconds=step * max(cohort - 1, 0)),
        )
        for cohort in range(EXPRESS_COHORT, cohorts + 1)
    )


def apply_wave(wave_id: int) -> bool:
    """Make a due wave true for its cohort. Whoever comes second, or too early, does nothing.

    1. claim the open, due wave, skipping it where another worker holds it;
    2. one upsert, which only moves to a higher version;
    3. mark the wave.
    """
    with transaction.atomic():
        wave = (
            RolloutWave.objects.due()
            .select_related("change")
            .select_for_update(skip_locked=True, of=("self",))
            .filter(pk=wave_id)
            .first()
        )
        if wave is None:
            return False
        _upsert_applied(wave)
        RolloutWave.objects.filter(pk=wave.pk).update(applied_at=Now())
    return True


def _upsert_applied(wave: RolloutWave) -> None:
    # Selected from the unit's own row: where the unit is gone there is nothing to apply to.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO policies_appliedpolicy (cohort, unit_id, setting, value, version)
            SELECT %s, unit.id, change.setting, change.new, change.version
              FROM policies_policychange change
              JOIN accounts_orgunit unit ON unit.id = change.unit_id
             WHERE change.id = %s
            ON CONFLICT (cohort, unit_id, setting) DO UPDATE
               SET value = excluded.value, version = excluded.version, applied_at = now()
             WHERE policies_appliedpolicy.version < excluded.version
            """,
            [wave.cohort, wave.change_id],
        )


def applied_value(unit_path: str, cohort: int, setting: str) -> Effective:
    """What holds now for the accounts of a cohort in the unit at `unit_path`: one query."""
    return _effective(
        AppliedPolicy.objects.filter(cohort=cohort).deciding(setting, unit_path), setting
    )


def saved_value(unit: OrgUnit, setting: str) -> Effective:
    """What the unit is set to, itself or from above, however far the rollout is: one query."""
    return _effective(GatewayPolicy.objects.deciding(setting, unit.path), setting)


def inherited_value(unit: OrgUnit, setting: str) -> Effective:
    """What the unit would be set to without a value of its own."""
    above = unit.path[: -OrgUnit.steplen]
    return _effective(GatewayPolicy.objects.deciding(setting, above), setting)


def _effective(row: GatewayPolicy | AppliedPolicy | None, setting: str) -> Effective:
    if row is None or row.value is None:
        return Effective(DEFAULTS[setting], None, 0)
    return Effective(row.value, row.unit, row.version)


def newest_change(unit: OrgUnit, setting: str) -> PolicyChange | None:
    changes = PolicyChange.objects.filter(unit_id=unit.pk, setting=setting)
    return changes.order_by("-version").first()


def applied_cohorts(changes: Sequence[PolicyChange]) -> dict[int, set[int]]:
    """For each change, by its id, the cohorts that have it or a newer one: one query."""
    rows = AppliedPolicy.objects.filter(
        unit_id__in={change.unit_id for change in changes},
        setting__in={change.setting for change in changes},
    ).values_list("unit_id", "setting", "cohort", "version")
    versions: dict[tuple[int, str], dict[int, int]] = {}
    for unit_id, setting, cohort, version in rows:
        versions.setdefault((unit_id, setting), {})[cohort] = version
    return {
        change.pk: {
            cohort
            for cohort, version in versions.get((change.unit_id, change.setting), {}).items()
            if version >= change.version
        }
        for change in changes
    }


def change_progress(change: PolicyChange) -> Progress:
    """Read from what is applied, not from what was planned: a dead worker stands still here."""
    applied = applied_cohorts([change])[change.pk] - {EXPRESS_COHORT}
    return Progress(len(applied), change.waves.exclude(cohort=EXPRESS_COHORT).count())


def _database_now() -> datetime:
    """PostgreSQL's now(), the start of this transaction: the only clock of a rollout."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        moment: datetime = cursor.fetchone()[0]
    return moment

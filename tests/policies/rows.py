"""What the tests of the policies write and read."""

import time
from datetime import timedelta

from django.db import connection
from django.db.models import F

from accounts.models import User
from accounts.services.audit import Actor
from policies.models import AppliedPolicy, GatewayPolicy, PolicyChange, RolloutWave, Setting
from policies.services import applied_value, apply_waves, change_policy, database_now

GATEWAY = Setting.PER_USER_OUTBOUND_GATEWAY
ON, OFF, INHERIT = {"allowed": True}, {"allowed": False}, None


def save(
    admin, unit, value, *, setting=GATEWAY, based_on=None, reason="", after=None, seen_path=None
):
    """Save, based on the newest version unless told otherwise; `after`: for that time from now."""
    if based_on is None:
        policy = GatewayPolicy.objects.filter(unit=unit, setting=setting).first()
        based_on = policy.version if policy else 0
    return change_policy(
        actor=Actor(admin),
        unit=unit,
        setting=setting,
        value=value,
        based_on=based_on,
        reason=reason,
        starts_at=database_now() + after if after else None,
        seen_path=seen_path,
    )


def let_pass(span):
    """As if that time had passed: PostgreSQL's clock stays, all that is planned comes earlier."""
    PolicyChange.objects.update(
        starts_at=F("starts_at") - span, complete_by=F("complete_by") - span
    )
    RolloutWave.objects.update(due_at=F("due_at") - span, paused_at=F("paused_at") - span)


def clock():
    """It goes on within a transaction, as the times do at which waves are applied."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def apply_wave(wave_id):
    """One alone; whether there was something to do."""
    return apply_waves([wave_id]) == 1


def make_due(**lookups):
    """Move waves into the past, as if their time had come."""
    waves = RolloutWave.objects.filter(**lookups)
    waves.update(due_at=F("due_at") - timedelta(hours=1))
    return waves


def apply_all(change):
    return [apply_wave(wave.pk) for wave in make_due(change=change)]


def apply_due():
    """As the worker does; returns the cohorts that got something."""
    return [wave.cohort for wave in RolloutWave.objects.due() if apply_wave(wave.pk)]


def have_it(unit):
    """The cohorts for which gateways are allowed by the unit's own value."""
    rows = AppliedPolicy.objects.filter(unit=unit, value=ON)
    return set(rows.values_list("cohort", flat=True))


def allowed(user):
    user = User.objects.select_related("unit").get(pk=user.pk)
    return applied_value(user.unit.path, user.cohort, GATEWAY).allowed


def wait_until_somebody_waits():
    with connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    raise AssertionError("Nobody waits for a lock.")


MINUTES = timedelta(minutes=1)

"""A real worker and a real beat carry a change to every account."""

import pytest
import redis
from django.conf import settings as configured
from django.db import connection

from accounts.models import AuditEvent, User
from accounts.models.people import home_cohort
from accounts.services.audit import Actor
from policies.models import Setting
from policies.services import applied_value, change_policy, change_progress
from tests.processes import BEAT, WORKER, running, until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

GATEWAY = Setting.PER_USER_OUTBOUND_GATEWAY
ACCOUNTS = 200
# The last waves are due after 9 s; the next sweep comes at most 2 s later.
WINDOW = 12


@pytest.fixture
def accounts(organisation, settings):
    """Many in Partner desk, and as many beside it, who must never get what Sales gets."""
    settings.OUTGATE_ROLLOUT_WINDOW = WINDOW
    made = [
        User(primary_address=f"{unit.pk}-{number}@yourdomain.com", name="N", unit=unit)
        for unit in (organisation.partner_desk, organisation.support_unit)
        for number in range(ACCOUNTS)
    ]
    for user in made:
        user.cohort = home_cohort(user.id, 12)
    User.objects.bulk_create(made)


def empty_broker():
    redis.Redis.from_url(configured.CELERY_BROKER_URL.replace("redis+socket", "unix")).flushall()


def switch_on(admin, unit):
    return change_policy(
        actor=Actor(admin), unit=unit, setting=GATEWAY, value={"allowed": True}, based_on=0
    )


def reached(unit):
    """How many accounts of the unit have the gateway now, each asked for itself."""
    users = User.objects.filter(unit=unit, primary_address__contains="-").select_related("unit")
    return sum(
        applied_value(user.unit.path, user.cohort, GATEWAY).allowed
        for user in users.exclude(name__contains=" ")
    )


def database_now():
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        return cursor.fetchone()[0]


def audited():
    return AuditEvent.objects.filter(name="policy_changed").count()


def test_every_account_has_the_change_within_the_window(super_admin, organisation, accounts):
    empty_broker()
    with running("worker", WORKER) as worker, running("beat", BEAT) as beat:
        worker.wait_for(r"\bready\.")
        beat.wait_for("is starting")
        change = switch_on(super_admin, organisation.sales)
        assert reached(organisation.partner_desk) == 0
        until(lambda: change_progress(change).complete, WINDOW + 5, lambda: worker.output)
    assert max(wave.applied_at for wave in change.waves.all()) <= change.complete_by
    assert reached(organisation.partner_desk) == ACCOUNTS
    assert reached(organisation.support_unit) == 0
    assert audited() == 1


def test_a_killed_worker_and_an_emptied_broker_delay_a_rollout_and_lose_nothing(
    super_admin, organisation, accounts
):
    empty_broker()
    with running("beat", BEAT):
        with running("first-worker", WORKER) as worker:
            worker.wait_for(r"\bready\.")
            change = switch_on(super_admin, organisation.sales)
            until(lambda: change_progress(change).applied >= 2, WINDOW, lambda: worker.output)
            worker.kill()
        stood = change_progress(change)
        empty_broker()
        until(lambda: database_now() > change.complete_by, 2 * WINDOW)
        assert change_progress(change) == stood
        assert not stood.complete
        with running("second-worker", WORKER) as worker:
            until(lambda: change_progress(change).complete, WINDOW, lambda: worker.output)
    assert reached(organisation.partner_desk) == ACCOUNTS
    assert reached(organisation.support_unit) == 0
    assert audited() == 1
    assert all(wave.applied_at for wave in change.waves.all())

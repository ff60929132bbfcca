"""A real worker and a real beat carry a change to every account."""

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings as configured

from accounts.models import AuditEvent, User
from accounts.models.people import home_cohort
from accounts.services.audit import Actor
from config.celery import app
from policies.models import Setting
from policies.services import (
    applied_value,
    apply_now_to_account,
    change_policy,
    change_progress,
    database_now,
)
from tests.processes import BEAT, WORKER, running, until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ACCOUNTS = 200
# Debian's: it moves the clock of the program that loads it.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
GATEWAY = Setting.PER_USER_OUTBOUND_GATEWAY
# The last waves are due after 9 s; the next sweep comes at most 2 s later.
WINDOW = 12
# As long as that beat is away for a sixth of it, ten minutes of an hour.
LONG_WINDOW = 36


def make_accounts(organisation, number):
    """Many in Partner desk, and as many beside it, who must never get what Sales gets."""
    made = [
        User(primary_address=f"{unit.pk}-{count}@yourdomain.com", name="N", unit=unit)
        for unit in (organisation.partner_desk, organisation.support_unit)
        for count in range(number)
    ]
    for user in made:
        user.cohort = home_cohort(user.id, 12)
    User.objects.bulk_create(made)


@pytest.fixture
def accounts(organisation, settings):
    settings.OUTGATE_ROLLOUT_WINDOW = WINDOW
    make_accounts(organisation, ACCOUNTS)


def empty_broker():
    redis.Redis.from_url(configured.CELERY_BROKER_URL.replace("redis+socket", "unix")).flushall()


def switch_on(admin, unit, starts_in=None):
    return change_policy(
        actor=Actor(admin),
        unit=unit,
        setting=GATEWAY,
        value={"allowed": True},
        based_on=0,
        starts_at=database_now() + timedelta(seconds=starts_in) if starts_in else None,
    )


def reached(unit):
    """How many accounts of the unit have the gateway now."""
    users = User.objects.filter(unit=unit, name="N")
    answer = {
        cohort: applied_value(unit.path, cohort, GATEWAY).allowed
        for cohort in set(users.order_by().values_list("cohort", flat=True))
    }
    return sum(answer[cohort] for cohort in users.values_list("cohort", flat=True))


def audited():
    return AuditEvent.objects.filter(name="policy_changed").count()


def assert_done_in_time(organisation, change, number):
    """All by the promised time, nobody else, and in the audit once."""
    assert max(wave.applied_at for wave in change.waves.all()) <= change.complete_by
    assert reached(organisation.partner_desk) == number
    assert reached(organisation.support_unit) == 0
    assert audited() == 1


def test_tasks_are_never_run_by_who_asks_for_them():
    assert app.conf.task_always_eager is False
    assert app.conf.broker_url.startswith("redis+socket://")


def test_each_of_10_000_accounts_has_the_right_value_within_the_window(
    super_admin, organisation, settings
):
    settings.OUTGATE_ROLLOUT_WINDOW = WINDOW
    make_accounts(organisation, 5_000)
    empty_broker()
    with running("worker", WORKER) as worker, running("beat", BEAT) as beat:
        worker.wait_for(r"\bready\.")
        beat.wait_for("is starting")
        change = switch_on(super_admin, organisation.sales)
        until(lambda: change_progress(change).complete, WINDOW + 5, lambda: worker.output)
    assert_done_in_time(organisation, change, 5_000)


def test_an_account_that_is_put_ahead_gets_it_at_once_and_returns(
    super_admin, organisation, accounts, owner
):
    User.objects.filter(pk=owner.pk).update(cohort=12, name="N")
    owner.refresh_from_db()
    empty_broker()
    with running("worker", WORKER) as worker, running("beat", BEAT):
        worker.wait_for(r"\bready\.")
        change = switch_on(super_admin, organisation.sales)
        until(lambda: change.waves.get(cohort=0).applied_at, WINDOW, lambda: worker.output)
        apply_now_to_account(actor=Actor(super_admin), user=owner, unit_id=owner.unit_id)
        assert reached(organisation.partner_desk) < ACCOUNTS
        assert applied_value(organisation.partner_desk.path, 0, GATEWAY).allowed
        until(
            lambda: User.objects.filter(pk=owner.pk, cohort=12, returns_to=None).exists(),
            WINDOW + 5,
            lambda: worker.output,
        )
    assert_done_in_time(organisation, change, ACCOUNTS + 1)


def test_a_scheduled_change_starts_by_itself(super_admin, organisation, accounts):
    empty_broker()
    # Whoever starts a change lays out its waves.
    window = {"OUTGATE_ROLLOUT_WINDOW": str(WINDOW)}
    with running("worker", WORKER, window) as worker, running("beat", BEAT):
        worker.wait_for(r"\bready\.")
        change = switch_on(super_admin, organisation.sales, starts_in=3)
        assert change.version is None
        until(lambda: change_progress(change).total, WINDOW, lambda: worker.output)
        change.refresh_from_db()
        until(lambda: change_progress(change).complete, WINDOW + 5, lambda: worker.output)
    assert_done_in_time(organisation, change, ACCOUNTS)


def test_beat_may_be_away_for_a_sixth_of_the_window(super_admin, organisation, accounts, settings):
    settings.OUTGATE_ROLLOUT_WINDOW = LONG_WINDOW
    empty_broker()
    with running("worker", WORKER) as worker:
        worker.wait_for(r"\bready\.")
        with running("beat", BEAT):
            change = switch_on(super_admin, organisation.sales)
            until(lambda: change_progress(change).applied >= 6, LONG_WINDOW, lambda: worker.output)
            stood = change_progress(change)
        time.sleep(LONG_WINDOW / 6)
        assert change_progress(change) == stood
        with running("beat-again", BEAT):
            until(lambda: change_progress(change).complete, LONG_WINDOW, lambda: worker.output)
    assert_done_in_time(organisation, change, ACCOUNTS)


def test_two_beats_do_no_harm(super_admin, organisation, accounts):
    empty_broker()
    with (
        running("worker", WORKER) as worker,
        running("beat", BEAT),
        running("second-beat", BEAT),
    ):
        worker.wait_for(r"\bready\.")
        change = switch_on(super_admin, organisation.sales)
        until(lambda: change_progress(change).complete, WINDOW + 5, lambda: worker.output)
    assert_done_in_time(organisation, change, ACCOUNTS)


def test_an_emptied_broker_loses_nothing(super_admin, organisation, accounts):
    empty_broker()
    with running("worker", WORKER) as worker, running("beat", BEAT):
        worker.wait_for(r"\bready\.")
        change = switch_on(super_admin, organisation.sales)
        for applied in (2, 5, 8):
            until(lambda n=applied: change_progress(change).applied >= n, WINDOW)
            empty_broker()
        until(lambda: change_progress(change).complete, WINDOW + 5, lambda: worker.output)
    assert_done_in_time(organisation, change, ACCOUNTS)


@pytest.mark.parametrize(("worker_hours", "beat_hours"), [("+2h", "-2h"), ("-2h", "+2h")])
def test_the_clocks_of_the_machines_do_not_matter(
    super_admin, organisation, accounts, worker_hours, beat_hours
):
    """Four hours apart, and neither right: only PostgreSQL's clock is asked."""
    empty_broker()
    with (
        running("worker", WORKER, clock_moved_by(worker_hours)) as worker,
        running("beat", BEAT, clock_moved_by(beat_hours)) as beat,
    ):
        worker.wait_for(r"\bready\.")
        beat.wait_for("LocalTime")
        assert hour_of(worker.output) != hour_of(beat.output)
        change = switch_on(super_admin, organisation.sales)
        until(lambda: change_progress(change).complete, WINDOW + 5, lambda: worker.output)
    assert_done_in_time(organisation, change, ACCOUNTS)


def clock_moved_by(hours):
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": hours}


def hour_of(log):
    """The hour in a log line: that the clock was really moved."""
    return re.search(r"\d{4}-\d\d-\d\d (\d\d):", log)[1]


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

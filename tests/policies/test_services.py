import threading
import time
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, OrgUnit, User
from accounts.services.audit import SYSTEM, Actor
from accounts.services.directory import create_unit, move_unit
from accounts.services.people import move_user
from policies.models import AppliedPolicy, GatewayPolicy, PolicyChange, RolloutWave, Setting
from policies.services import (
    MovedUnitError,
    StalePolicyError,
    UnitGoneError,
    applied_value,
    apply_waves,
    change_policy,
    change_progress,
    inherited_value,
    saved_value,
    start_due_changes,
)
from tests.console.rows import create_units
from tests.policies.rows import MINUTES, apply_wave, let_pass, save

GATEWAY = Setting.PER_USER_OUTBOUND_GATEWAY
ON, OFF, INHERIT = {"allowed": True}, {"allowed": False}, None


def change(admin, unit, value, *, based_on=None, reason="", seen_path=None):
    """Save, based on the newest version unless told otherwise."""
    if based_on is None:
        policy = GatewayPolicy.objects.filter(unit=unit).first()
        based_on = policy.version if policy else 0
    return change_policy(
        actor=Actor(admin),
        unit=unit,
        setting=GATEWAY,
        value=value,
        based_on=based_on,
        reason=reason,
        seen_path=seen_path,
    )


def make_due(**lookups):
    """Move waves into the past, as if their time had come."""
    waves = RolloutWave.objects.filter(**lookups)
    waves.update(due_at=F("due_at") - timedelta(hours=1))
    return waves


def apply_all(change):
    return [apply_wave(wave.pk) for wave in make_due(change=change)]


def allowed(user):
    user = User.objects.select_related("unit").get(pk=user.pk)
    return applied_value(user.unit.path, user.cohort, GATEWAY).allowed


# --- saving ------------------------------------------------------------------------------------


def test_a_saved_change_says_who_when_where_what_and_why(super_admin, organisation):
    saved = change(super_admin, organisation.partner_desk, ON, reason="The partner asked.")
    assert saved.actor_address == "admin@yourdomain.com"
    assert saved.unit_path == "yourdomain.com › Sales › Partner desk"
    assert (saved.old, saved.new, saved.version) == (None, ON, 1)
    assert saved.reason == "The partner asked."
    assert saved.complete_by - saved.starts_at == timedelta(seconds=3600)


def test_each_unit_counts_its_own_versions(super_admin, organisation):
    versions = [
        change(super_admin, organisation.sales, ON).version,
        change(super_admin, organisation.sales, OFF).version,
        change(super_admin, organisation.partner_desk, ON).version,
        change(super_admin, organisation.sales, INHERIT).version,
    ]
    assert versions == [1, 2, 1, 3]


def test_a_change_based_on_an_older_version_overwrites_nothing(super_admin, organisation):
    first = change(super_admin, organisation.sales, ON)
    with pytest.raises(StalePolicyError) as refused:
        change(super_admin, organisation.sales, OFF, based_on=0)
    assert refused.value.newest == first
    assert saved_value(organisation.sales, GATEWAY).value == ON
    assert PolicyChange.objects.count() == 1


def test_a_unit_that_stands_elsewhere_than_it_was_seen_is_left_as_it_is(super_admin, organisation):
    desk = organisation.partner_desk
    there = move_unit(actor=SYSTEM, unit=desk, parent=organisation.support_unit).path
    with pytest.raises(MovedUnitError) as refused:
        change(super_admin, desk, ON, seen_path=desk.path)
    assert refused.value.unit.path == there
    assert not PolicyChange.objects.exists()
    assert change(super_admin, desk, ON, seen_path=there)


def test_a_unit_that_is_gone_is_told_from_a_time_that_has_passed(super_admin, organisation):
    OrgUnit.objects.get(pk=organisation.partner_desk.pk).delete()
    with pytest.raises(UnitGoneError):
        change(super_admin, organisation.partner_desk, ON, based_on=0)
    assert not PolicyChange.objects.exists()


def test_a_version_that_nobody_has_seen_yet_is_stale_too(super_admin, organisation):
    with pytest.raises(StalePolicyError):
        change(super_admin, organisation.sales, ON, based_on=1)
    assert not GatewayPolicy.objects.exists()


def test_saving_what_is_set_already_writes_nothing(super_admin, organisation):
    assert change(super_admin, organisation.sales, INHERIT) is None
    change(super_admin, organisation.sales, ON)
    assert change(super_admin, organisation.sales, ON) is None
    assert PolicyChange.objects.count() == AuditEvent.objects.filter(name="policy_changed").count()
    assert PolicyChange.objects.count() == 1


@pytest.mark.parametrize("name", ["owner", "support", "unit_admin"])
def test_only_who_administers_a_unit_changes_it(name, request, organisation):
    with pytest.raises(PermissionDenied):
        change(request.getfixturevalue(name), organisation.support_unit, ON)
    assert not PolicyChange.objects.exists()


def test_nobody_changes_a_unit_for_the_system(organisation):
    with pytest.raises(PermissionDenied):
        change(None, organisation.sales, ON)


def test_a_unit_administrator_changes_what_is_below(unit_admin, organisation):
    assert change(unit_admin, organisation.partner_desk, ON)


def test_each_change_is_in_the_audit_once_however_often_waves_are_applied(
    super_admin, organisation
):
    for value in (ON, OFF):
        saved = change(super_admin, organisation.sales, value)
        apply_all(saved)
        apply_all(saved)
    events = AuditEvent.objects.filter(name="policy_changed").order_by("id")
    assert [event.details["new"] for event in events] == [ON, OFF]
    assert {event.actor_address for event in events} == {"admin@yourdomain.com"}


# --- waves -------------------------------------------------------------------------------------


def test_the_express_cohort_comes_at_once_and_the_last_after_three_quarters(
    super_admin, organisation
):
    saved = change(super_admin, organisation.sales, ON)
    after = {
        wave.cohort: (wave.due_at - saved.starts_at).total_seconds() for wave in saved.waves.all()
    }
    assert sorted(after) == list(range(13))
    assert after[0] == after[1] == 0
    assert after[12] == pytest.approx(2700)
    gaps = [after[cohort + 1] - after[cohort] for cohort in range(1, 12)]
    assert gaps == pytest.approx([2700 / 11] * 11)


def test_a_wave_before_its_time_does_nothing(super_admin, organisation):
    saved = change(super_admin, organisation.sales, ON)
    assert not apply_wave(saved.waves.get(cohort=12).pk)
    assert not AppliedPolicy.objects.exists()


def test_a_due_wave_reaches_its_cohort_and_no_other(super_admin, owner, organisation):
    saved = change(super_admin, organisation.sales, ON)
    User.objects.filter(pk=owner.pk).update(cohort=0)
    assert apply_wave(saved.waves.get(cohort=0).pk)
    assert allowed(owner)
    User.objects.filter(pk=owner.pk).update(cohort=5)
    assert not allowed(owner)


def test_a_wave_is_applied_once(super_admin, organisation):
    saved = change(super_admin, organisation.sales, ON)
    assert apply_all(saved) == [True] * 13
    assert apply_all(saved) == [False] * 13


def test_many_waves_cost_what_one_costs_and_the_newest_of_a_unit_holds(super_admin, organisation):
    """A scheduled change of the same value supersedes nothing: both are under way, and both due."""
    change(super_admin, organisation.sales, ON)
    save(super_admin, organisation.sales, ON, after=MINUTES)
    change(super_admin, organisation.support_unit, ON)
    let_pass(2 * MINUTES)
    assert start_due_changes(organisation.sales.pk) == 1
    due = [wave.pk for wave in make_due()]
    with CaptureQueriesContext(connection) as queries:
        assert apply_waves(due) == len(due) == 39
    assert len(queries) == 1
    rows = AppliedPolicy.objects.filter(unit=organisation.sales)
    assert list(rows.values_list("version", flat=True)) == [2] * 13
    assert apply_waves(due) == 0


@pytest.mark.django_db(transaction=True)
def test_two_workers_with_the_same_waves_share_them(super_admin, organisation):
    units = create_units(organisation.sales, "Desk")
    changes = [change(super_admin, unit, ON) for unit in units]
    due = [wave.pk for each in changes for wave in make_due(change=each)]
    applied = []
    start = threading.Barrier(4)

    def work():
        start.wait()
        applied.append(apply_waves(due))
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(applied) == AppliedPolicy.objects.count() == len(due)


def test_a_wave_that_is_not_there_any_more_does_nothing(db):
    assert not apply_wave(1)


@pytest.mark.django_db(transaction=True)
def test_two_workers_with_one_wave_apply_it_once(super_admin, organisation):
    saved = change(super_admin, organisation.sales, ON)
    answers = []
    start = threading.Barrier(2)

    def work(wave_id):
        start.wait()
        answers.append(apply_wave(wave_id))
        connection.close()

    for wave in make_due(change=saved):
        workers = [threading.Thread(target=work, args=[wave.pk]) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert sorted(answers) == [False] * 13 + [True] * 13
    assert AppliedPolicy.objects.count() == 13


@pytest.mark.django_db(transaction=True)
def test_a_change_saved_while_a_wave_applies_waits_and_both_go_through(super_admin, organisation):
    """Each wants what the other has: the wave its unit's row, the change the wave's row."""
    first = change(super_admin, organisation.sales, ON)
    wave = make_due(change=first).first()
    saved = []

    def save():
        saved.append(change(super_admin, organisation.sales, OFF))
        connection.close()

    saving = threading.Thread(target=save)
    with transaction.atomic():
        assert apply_wave(wave.pk)
        saving.start()
        wait_until_somebody_waits()
    saving.join()
    assert saved[0].version == 2
    assert first.waves.filter(superseded_at=None).get() == wave


def wait_until_somebody_waits():
    with connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    raise AssertionError("Nobody waits for a lock.")


def test_a_newer_change_supersedes_what_has_not_arrived(super_admin, owner, organisation):
    first = change(super_admin, organisation.sales, ON)
    User.objects.filter(pk=owner.pk).update(cohort=12)
    second = change(super_admin, organisation.sales, OFF)
    assert not any(apply_all(first))
    assert all(wave.superseded_at for wave in first.waves.all())
    assert all(apply_all(second))
    assert not allowed(owner)


def test_a_change_of_another_unit_supersedes_nothing(super_admin, organisation):
    first = change(super_admin, organisation.sales, ON)
    change(super_admin, organisation.partner_desk, OFF)
    assert all(apply_all(first))


def test_a_reversal_on_the_way_takes_it_back_from_those_who_had_it(
    super_admin, owner, organisation
):
    first = change(super_admin, organisation.sales, ON)
    User.objects.filter(pk=owner.pk).update(cohort=1)
    apply_wave(first.waves.get(cohort=1).pk)
    assert allowed(owner)
    second = change(super_admin, organisation.sales, INHERIT)
    assert allowed(owner)
    apply_wave(second.waves.get(cohort=1).pk)
    assert not allowed(owner)


def test_an_applied_version_never_falls(super_admin, owner, organisation):
    """As when an older wave was read before the newer one had been applied."""
    first = change(super_admin, organisation.sales, ON)
    apply_all(change(super_admin, organisation.sales, OFF))
    first.waves.update(superseded_at=None)
    assert all(apply_all(first))
    assert set(AppliedPolicy.objects.values_list("version", flat=True)) == {2}
    assert not allowed(owner)


def test_inherit_is_kept_as_null_with_its_version(super_admin, owner, organisation):
    apply_all(change(super_admin, organisation.root, ON))
    apply_all(change(super_admin, organisation.sales, OFF))
    assert not allowed(owner)
    apply_all(change(super_admin, organisation.sales, INHERIT))
    assert allowed(owner)
    rows = AppliedPolicy.objects.filter(unit=organisation.sales)
    assert {(row.value, row.version) for row in rows} == {(None, 2)}


def test_waves_of_a_unit_that_is_gone_end_quietly(super_admin, organisation):
    unit = create_unit(actor=SYSTEM, name="Short-lived", parent=organisation.sales)
    saved = change(super_admin, unit, ON)
    OrgUnit.objects.get(pk=unit.pk).delete()
    assert all(apply_all(saved))
    assert not AppliedPolicy.objects.exists()


# --- progress ----------------------------------------------------------------------------------


def test_progress_counts_the_applied_rows_of_the_ordinary_cohorts(super_admin, organisation):
    saved = change(super_admin, organisation.sales, ON)
    assert change_progress(saved) == (0, 12)
    apply_wave(saved.waves.get(cohort=0).pk)
    assert change_progress(saved) == (0, 12)
    apply_wave(saved.waves.get(cohort=1).pk)
    assert change_progress(saved) == (1, 12)
    apply_all(saved)
    assert change_progress(saved) == (12, 12)
    assert change_progress(saved).complete


def test_progress_is_not_read_from_the_plan(super_admin, organisation):
    saved = change(super_admin, organisation.sales, ON)
    make_due(change=saved)
    assert change_progress(saved).applied == 0


# --- what holds --------------------------------------------------------------------------------


def test_nothing_set_anywhere_means_off(owner, organisation):
    effective = applied_value(organisation.partner_desk.path, owner.cohort, GATEWAY)
    assert (effective.allowed, effective.unit, effective.version) == (False, None, 0)


def test_the_nearest_unit_with_a_value_decides(super_admin, owner, organisation):
    apply_all(change(super_admin, organisation.root, ON))
    effective = applied_value(organisation.partner_desk.path, owner.cohort, GATEWAY)
    assert (effective.allowed, effective.unit) == (True, organisation.root)
    apply_all(change(super_admin, organisation.sales, OFF))
    effective = applied_value(organisation.partner_desk.path, owner.cohort, GATEWAY)
    assert (effective.allowed, effective.unit) == (False, organisation.sales)


def test_a_value_below_or_beside_decides_nothing(super_admin, stranger, organisation):
    apply_all(change(super_admin, organisation.partner_desk, ON))
    for unit in (organisation.root, organisation.sales, organisation.support_unit):
        assert not applied_value(unit.path, stranger.cohort, GATEWAY).allowed


@pytest.mark.parametrize("depth", [1, 20])
def test_what_holds_costs_one_query_at_any_depth(
    depth, super_admin, organisation, django_assert_num_queries
):
    unit = organisation.root
    apply_all(change(super_admin, unit, ON))
    for level in range(depth):
        unit = create_unit(actor=SYSTEM, name=f"level {level}", parent=unit)
        if level % 2:
            apply_all(change(super_admin, unit, INHERIT))
    with django_assert_num_queries(1):
        effective = applied_value(unit.path, 3, GATEWAY)
        assert effective.allowed
        assert effective.unit.name == "yourdomain.com"


def test_the_saved_value_is_there_before_any_wave(super_admin, owner, organisation):
    change(super_admin, organisation.sales, ON)
    assert saved_value(organisation.partner_desk, GATEWAY).allowed
    assert saved_value(organisation.partner_desk, GATEWAY).unit == organisation.sales
    assert not allowed(owner)


def test_what_would_be_inherited_leaves_out_the_own_value(super_admin, organisation):
    change(super_admin, organisation.root, ON)
    change(super_admin, organisation.sales, OFF)
    assert inherited_value(organisation.sales, GATEWAY).allowed
    assert inherited_value(organisation.sales, GATEWAY).unit == organisation.root
    assert inherited_value(organisation.root, GATEWAY).unit is None


def test_moving_a_unit_takes_effect_at_once(super_admin, owner, organisation):
    apply_all(change(super_admin, organisation.support_unit, ON))
    move_unit(actor=SYSTEM, unit=organisation.partner_desk, parent=organisation.support_unit)
    assert allowed(owner)


def test_moving_an_account_takes_effect_at_once(super_admin, owner, organisation):
    apply_all(change(super_admin, organisation.support_unit, ON))
    move_user(actor=SYSTEM, user=owner, unit=organisation.support_unit)
    assert allowed(owner)

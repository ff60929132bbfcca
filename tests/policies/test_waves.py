"""What waves leave behind, in which order, and how far a change is."""

import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import OrgUnit, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_unit, delete_unit
from policies.models import AppliedPolicy
from policies.services import apply_waves, change_progress, start_due_changes
from tests.console.rows import create_units
from tests.policies.rows import (
    INHERIT,
    MINUTES,
    OFF,
    ON,
    allowed,
    apply_all,
    apply_wave,
    let_pass,
    make_due,
    save,
    wait_until_somebody_waits,
)


def test_the_express_cohort_comes_at_once_and_the_last_after_three_quarters(
    super_admin, organisation
):
    saved = save(super_admin, organisation.sales, ON)
    after = {
        wave.cohort: (wave.due_at - saved.starts_at).total_seconds() for wave in saved.waves.all()
    }
    assert sorted(after) == list(range(13))
    assert after[0] == after[1] == 0
    assert after[12] == pytest.approx(2700)
    gaps = [after[cohort + 1] - after[cohort] for cohort in range(1, 12)]
    assert gaps == pytest.approx([2700 / 11] * 11)


def test_a_wave_before_its_time_does_nothing(super_admin, organisation):
    saved = save(super_admin, organisation.sales, ON)
    assert not apply_wave(saved.waves.get(cohort=12).pk)
    assert not AppliedPolicy.objects.exists()


def test_a_due_wave_reaches_its_cohort_and_no_other(super_admin, owner, organisation):
    saved = save(super_admin, organisation.sales, ON)
    User.objects.filter(pk=owner.pk).update(cohort=0)
    assert apply_wave(saved.waves.get(cohort=0).pk)
    assert allowed(owner)
    User.objects.filter(pk=owner.pk).update(cohort=5)
    assert not allowed(owner)


def test_a_wave_is_applied_once(super_admin, organisation):
    saved = save(super_admin, organisation.sales, ON)
    assert apply_all(saved) == [True] * 13
    assert apply_all(saved) == [False] * 13


def test_many_waves_cost_what_one_costs_and_the_newest_of_a_unit_holds(super_admin, organisation):
    """A scheduled change of the same value supersedes nothing: both are under way, and both due."""
    save(super_admin, organisation.sales, ON)
    save(super_admin, organisation.sales, ON, after=MINUTES)
    save(super_admin, organisation.support_unit, ON)
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
    changes = [save(super_admin, unit, ON) for unit in units]
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
    saved = save(super_admin, organisation.sales, ON)
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
    first = save(super_admin, organisation.sales, ON)
    wave = make_due(change=first).first()
    saved = []

    def save_off():
        saved.append(save(super_admin, organisation.sales, OFF))
        connection.close()

    saving = threading.Thread(target=save_off)
    with transaction.atomic():
        assert apply_wave(wave.pk)
        saving.start()
        wait_until_somebody_waits()
    saving.join()
    assert saved[0].version == 2
    assert first.waves.filter(superseded_at=None).get() == wave


def test_a_newer_change_supersedes_what_has_not_arrived(super_admin, owner, organisation):
    first = save(super_admin, organisation.sales, ON)
    User.objects.filter(pk=owner.pk).update(cohort=12)
    second = save(super_admin, organisation.sales, OFF)
    assert not any(apply_all(first))
    assert all(wave.superseded_at for wave in first.waves.all())
    assert all(apply_all(second))
    assert not allowed(owner)


def test_a_change_of_another_unit_supersedes_nothing(super_admin, organisation):
    first = save(super_admin, organisation.sales, ON)
    save(super_admin, organisation.partner_desk, OFF)
    assert all(apply_all(first))


def test_a_reversal_on_the_way_takes_it_back_from_those_who_had_it(
    super_admin, owner, organisation
):
    first = save(super_admin, organisation.sales, ON)
    User.objects.filter(pk=owner.pk).update(cohort=1)
    apply_wave(first.waves.get(cohort=1).pk)
    assert allowed(owner)
    second = save(super_admin, organisation.sales, INHERIT)
    assert allowed(owner)
    apply_wave(second.waves.get(cohort=1).pk)
    assert not allowed(owner)


def test_an_applied_version_never_falls(super_admin, owner, organisation):
    """As when an older wave was read before the newer one had been applied."""
    first = save(super_admin, organisation.sales, ON)
    apply_all(save(super_admin, organisation.sales, OFF))
    first.waves.update(superseded_at=None)
    assert all(apply_all(first))
    assert set(AppliedPolicy.objects.values_list("version", flat=True)) == {2}
    assert not allowed(owner)


def test_inherit_is_kept_as_null_with_its_version(super_admin, owner, organisation):
    apply_all(save(super_admin, organisation.root, ON))
    apply_all(save(super_admin, organisation.sales, OFF))
    assert not allowed(owner)
    apply_all(save(super_admin, organisation.sales, INHERIT))
    assert allowed(owner)
    rows = AppliedPolicy.objects.filter(unit=organisation.sales)
    assert {(row.value, row.version) for row in rows} == {(None, 2)}


def test_waves_of_a_unit_that_is_gone_end_quietly(super_admin, organisation):
    unit = create_unit(actor=SYSTEM, name="Short-lived", parent=organisation.sales)
    saved = save(super_admin, unit, ON)
    OrgUnit.objects.get(pk=unit.pk).delete()
    assert all(apply_all(saved))
    assert not AppliedPolicy.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["the wave", "the deletion"])
def test_a_wave_and_the_deletion_of_its_unit_wait_for_each_other(super_admin, organisation, first):
    """Whichever comes second, nothing is applied to a unit that is gone."""
    unit = create_unit(actor=SYSTEM, name="Short-lived", parent=organisation.sales)
    wave = make_due(change=save(super_admin, unit, ON)).first()
    steps = [lambda: apply_wave(wave.pk), lambda: delete_unit(actor=SYSTEM, unit=unit)]
    if first == "the deletion":
        steps.reverse()
    faults = []

    def come_second():
        try:
            steps[1]()
        except Exception as fault:
            faults.append(fault)
        connection.close()

    coming = threading.Thread(target=come_second)
    with transaction.atomic():
        steps[0]()
        coming.start()
        wait_until_somebody_waits()
    coming.join()
    assert not faults
    assert not OrgUnit.objects.filter(pk=unit.pk).exists()
    assert not AppliedPolicy.objects.exists()


def test_progress_counts_the_applied_rows_of_the_ordinary_cohorts(super_admin, organisation):
    saved = save(super_admin, organisation.sales, ON)
    assert change_progress(saved) == (0, 12)
    apply_wave(saved.waves.get(cohort=0).pk)
    assert change_progress(saved) == (0, 12)
    apply_wave(saved.waves.get(cohort=1).pk)
    assert change_progress(saved) == (1, 12)
    apply_all(saved)
    assert change_progress(saved) == (12, 12)
    assert change_progress(saved).complete


def test_progress_is_not_read_from_the_plan(super_admin, organisation):
    saved = save(super_admin, organisation.sales, ON)
    make_due(change=saved)
    assert change_progress(saved).applied == 0

"""One value for many units in one go."""

import threading
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from accounts.services.audit import Actor
from policies.models import PolicyChange, RolloutWave
from policies.services import (
    StalePolicyError,
    apply_waves,
    change_policies,
    database_now,
    saved_value,
)
from tests.console.rows import create_units
from tests.policies.rows import GATEWAY, OFF, ON, have_it, let_pass, save


def save_all(admin, based_on, value, **options):
    return change_policies(
        actor=Actor(admin), based_on=based_on, setting=GATEWAY, value=value, **options
    )


def test_each_unit_gets_its_own_change_with_its_version_and_what_it_had(super_admin, organisation):
    desks = create_units(organisation.sales, "Desk")
    save(super_admin, desks[0], OFF)
    based_on = {unit.pk: 0 for unit in desks} | {desks[0].pk: 1}
    changes = save_all(super_admin, based_on, ON, reason="All of them.")
    assert [change.unit_id for change in changes] == sorted(based_on)
    assert [(change.version, change.old) for change in changes] == [(2, OFF)] + [(1, None)] * 9
    stored = PolicyChange.objects.filter(pk__in=[change.pk for change in changes]).order_by("pk")
    names = ("version", "old", "new", "unit_path", "reason", "starts_at", "complete_by")
    for kept, told in zip(stored, changes, strict=True):
        assert [getattr(kept, name) for name in names] == [getattr(told, name) for name in names]
    assert stored[9].unit_path == "yourdomain.com › Sales › Desk 9"
    assert {saved_value(unit, GATEWAY).version for unit in desks} == {1, 2}
    events = AuditEvent.objects.filter(name="policy_changed", details__reason="All of them.")
    found = set(events.values_list("unit_id", "unit_path", "details__change"))
    assert found == {(each.unit_id, each.unit_path, each.pk) for each in changes}


def test_the_waves_of_all_are_laid_out_and_reach_them(super_admin, organisation):
    desks = create_units(organisation.sales, "Desk")
    changes = save_all(super_admin, {unit.pk: 0 for unit in desks}, ON)
    plans = [list(each.waves.values_list("cohort", "due_at")) for each in changes]
    assert plans == [plans[0]] * 10
    assert [cohort for cohort, _due in plans[0]] == list(range(13))
    let_pass(timedelta(hours=1))
    assert apply_waves(RolloutWave.objects.due().values_list("pk", flat=True)) == 130
    assert all(have_it(unit) == set(range(13)) for unit in desks)


def test_older_changes_on_their_way_are_superseded_in_each_unit(super_admin, organisation):
    desks = create_units(organisation.sales, "Desk")
    first = save_all(super_admin, {unit.pk: 0 for unit in desks}, ON)
    same = save(super_admin, organisation.support_unit, ON)
    second = save_all(super_admin, {unit.pk: 1 for unit in desks[:5]}, OFF)
    superseded = RolloutWave.objects.filter(superseded_at__isnull=False)
    assert set(superseded.values_list("change_id", flat=True)) == {each.pk for each in first[:5]}
    assert superseded.count() == 65
    assert all(each.waves.open().count() == 13 for each in [*first[5:], same, *second])


def test_a_unit_that_has_the_value_is_left_out(super_admin, organisation):
    save(super_admin, organisation.sales, ON)
    based_on = {organisation.sales.pk: 1, organisation.support_unit.pk: 0}
    [change] = save_all(super_admin, based_on, ON)
    assert change.unit_id == organisation.support_unit.pk
    assert save_all(super_admin, {organisation.sales.pk: 1}, ON) == []


def test_many_units_can_wait_for_a_time(super_admin, organisation):
    based_on = {organisation.sales.pk: 0, organisation.support_unit.pk: 0}
    at = database_now() + timedelta(minutes=5)
    changes = save_all(super_admin, based_on, ON, starts_at=at)
    assert {change.pk for change in changes} == {
        change.pk for change in PolicyChange.objects.scheduled()
    }
    assert AuditEvent.objects.filter(name="policy_change_scheduled").count() == 2
    assert not RolloutWave.objects.exists()


def test_where_one_was_changed_meanwhile_nothing_is_saved(super_admin, organisation):
    newest = save(super_admin, organisation.support_unit, OFF)
    based_on = {organisation.sales.pk: 0, organisation.support_unit.pk: 0}
    with pytest.raises(StalePolicyError) as refused:
        save_all(super_admin, based_on, ON)
    assert refused.value.newest == newest
    assert PolicyChange.objects.count() == 1


def test_where_one_is_gone_nothing_is_saved(super_admin, organisation):
    gone = organisation.partner_desk.pk
    organisation.partner_desk.delete()
    with pytest.raises(ValidationError):
        save_all(super_admin, {organisation.sales.pk: 0, gone: 0}, ON)
    assert not PolicyChange.objects.exists()


def test_who_administers_only_some_of_them_saves_none(unit_admin, organisation):
    with pytest.raises(PermissionDenied):
        save_all(unit_admin, {organisation.sales.pk: 0, organisation.support_unit.pk: 0}, ON)
    assert not PolicyChange.objects.exists()


def test_saving_for_ten_units_asks_what_saving_for_one_does(super_admin, organisation):
    desks = create_units(organisation.sales, "Desk")

    def statements(units):
        with CaptureQueriesContext(connection) as queries:
            save_all(super_admin, {unit.pk: 0 for unit in units}, ON)
        return len(queries)

    assert statements(desks[:1]) == statements(desks[1:])


@pytest.mark.django_db(transaction=True)
def test_of_two_who_save_the_same_units_in_another_order_one_is_stale(super_admin, organisation):
    units = [organisation.root, *create_units(organisation.sales, "Desk"), organisation.sales]
    outcomes = []
    start = threading.Barrier(2)

    def work(chosen, value):
        start.wait()
        try:
            outcomes.append(len(save_all(super_admin, {unit.pk: 0 for unit in chosen}, value)))
        except StalePolicyError:
            outcomes.append("stale")
        connection.close()

    workers = [
        threading.Thread(target=work, args=[units, ON]),
        threading.Thread(target=work, args=[units[::-1], OFF]),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(outcomes, key=str) == [12, "stale"]
    assert PolicyChange.objects.count() == 12

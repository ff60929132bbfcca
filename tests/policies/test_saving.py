"""What saving a policy writes, and what is refused."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEvent, OrgUnit
from accounts.services.audit import SYSTEM
from accounts.services.directory import move_unit
from policies.models import GatewayPolicy, PolicyChange
from policies.services import MovedUnitError, StalePolicyError, UnitGoneError, saved_value
from tests.policies.rows import GATEWAY, INHERIT, OFF, ON, apply_all, save


def test_a_saved_change_says_who_when_where_what_and_why(super_admin, organisation):
    saved = save(super_admin, organisation.partner_desk, ON, reason="The partner asked.")
    assert saved.actor_address == "admin@yourdomain.com"
    assert saved.unit_path == "yourdomain.com › Sales › Partner desk"
    assert (saved.old, saved.new, saved.version) == (None, ON, 1)
    assert saved.reason == "The partner asked."
    assert saved.complete_by - saved.starts_at == timedelta(seconds=3600)


def test_each_unit_counts_its_own_versions(super_admin, organisation):
    versions = [
        save(super_admin, organisation.sales, ON).version,
        save(super_admin, organisation.sales, OFF).version,
        save(super_admin, organisation.partner_desk, ON).version,
        save(super_admin, organisation.sales, INHERIT).version,
    ]
    assert versions == [1, 2, 1, 3]


def test_a_change_based_on_an_older_version_overwrites_nothing(super_admin, organisation):
    first = save(super_admin, organisation.sales, ON)
    with pytest.raises(StalePolicyError) as refused:
        save(super_admin, organisation.sales, OFF, based_on=0)
    assert refused.value.newest == first
    assert saved_value(organisation.sales, GATEWAY).value == ON
    assert PolicyChange.objects.count() == 1


def test_a_unit_that_stands_elsewhere_than_it_was_seen_is_left_as_it_is(super_admin, organisation):
    desk = organisation.partner_desk
    there = move_unit(actor=SYSTEM, unit=desk, parent=organisation.support_unit).path
    with pytest.raises(MovedUnitError) as refused:
        save(super_admin, desk, ON, seen_path=desk.path)
    assert refused.value.unit.path == there
    assert not PolicyChange.objects.exists()
    assert save(super_admin, desk, ON, seen_path=there)


def test_a_unit_that_is_gone_is_told_from_a_time_that_has_passed(super_admin, organisation):
    OrgUnit.objects.get(pk=organisation.partner_desk.pk).delete()
    with pytest.raises(UnitGoneError):
        save(super_admin, organisation.partner_desk, ON, based_on=0)
    assert not PolicyChange.objects.exists()


def test_a_version_that_nobody_has_seen_yet_is_stale_too(super_admin, organisation):
    with pytest.raises(StalePolicyError):
        save(super_admin, organisation.sales, ON, based_on=1)
    assert not GatewayPolicy.objects.exists()


def test_saving_what_is_set_already_writes_nothing(super_admin, organisation):
    assert save(super_admin, organisation.sales, INHERIT) is None
    save(super_admin, organisation.sales, ON)
    assert save(super_admin, organisation.sales, ON) is None
    assert PolicyChange.objects.count() == AuditEvent.objects.filter(name="policy_changed").count()
    assert PolicyChange.objects.count() == 1


@pytest.mark.parametrize("name", ["owner", "support", "unit_admin"])
def test_only_who_administers_a_unit_changes_it(name, request, organisation):
    with pytest.raises(PermissionDenied):
        save(request.getfixturevalue(name), organisation.support_unit, ON)
    assert not PolicyChange.objects.exists()


def test_nobody_changes_a_unit_for_the_system(organisation):
    with pytest.raises(PermissionDenied):
        save(None, organisation.sales, ON)


def test_a_unit_administrator_changes_what_is_below(unit_admin, organisation):
    assert save(unit_admin, organisation.partner_desk, ON)


def test_each_change_is_in_the_audit_once_however_often_waves_are_applied(
    super_admin, organisation
):
    for value in (ON, OFF):
        saved = save(super_admin, organisation.sales, value)
        apply_all(saved)
        apply_all(saved)
    events = AuditEvent.objects.filter(name="policy_changed").order_by("id")
    assert [event.details["new"] for event in events] == [ON, OFF]
    assert {event.actor_address for event in events} == {"admin@yourdomain.com"}

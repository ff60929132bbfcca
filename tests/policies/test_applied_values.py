"""Which value holds for a unit and cohort."""

import pytest

from accounts.services.audit import SYSTEM
from accounts.services.directory import create_unit, move_unit
from accounts.services.people import move_user
from policies.services import applied_value, inherited_value, saved_value
from tests.policies.rows import GATEWAY, INHERIT, OFF, ON, allowed, apply_all, save


def test_nothing_set_anywhere_means_off(owner, organisation):
    effective = applied_value(organisation.partner_desk.path, owner.cohort, GATEWAY)
    assert (effective.allowed, effective.unit, effective.version) == (False, None, 0)


def test_the_nearest_unit_with_a_value_decides(super_admin, owner, organisation):
    apply_all(save(super_admin, organisation.root, ON))
    effective = applied_value(organisation.partner_desk.path, owner.cohort, GATEWAY)
    assert (effective.allowed, effective.unit) == (True, organisation.root)
    apply_all(save(super_admin, organisation.sales, OFF))
    effective = applied_value(organisation.partner_desk.path, owner.cohort, GATEWAY)
    assert (effective.allowed, effective.unit) == (False, organisation.sales)


def test_a_value_below_or_beside_decides_nothing(super_admin, stranger, organisation):
    apply_all(save(super_admin, organisation.partner_desk, ON))
    for unit in (organisation.root, organisation.sales, organisation.support_unit):
        assert not applied_value(unit.path, stranger.cohort, GATEWAY).allowed


@pytest.mark.parametrize("depth", [1, 20])
def test_what_holds_costs_one_query_at_any_depth(
    depth, super_admin, organisation, django_assert_num_queries
):
    unit = organisation.root
    apply_all(save(super_admin, unit, ON))
    for level in range(depth):
        unit = create_unit(actor=SYSTEM, name=f"level {level}", parent=unit)
        if level % 2:
            apply_all(save(super_admin, unit, INHERIT))
    with django_assert_num_queries(1):
        effective = applied_value(unit.path, 3, GATEWAY)
        assert effective.allowed
        assert effective.unit.name == "yourdomain.com"


def test_the_saved_value_is_there_before_any_wave(super_admin, owner, organisation):
    save(super_admin, organisation.sales, ON)
    assert saved_value(organisation.partner_desk, GATEWAY).allowed
    assert saved_value(organisation.partner_desk, GATEWAY).unit == organisation.sales
    assert not allowed(owner)


def test_what_would_be_inherited_leaves_out_the_own_value(super_admin, organisation):
    save(super_admin, organisation.root, ON)
    save(super_admin, organisation.sales, OFF)
    assert inherited_value(organisation.sales, GATEWAY).allowed
    assert inherited_value(organisation.sales, GATEWAY).unit == organisation.root
    assert inherited_value(organisation.root, GATEWAY).unit is None


def test_moving_a_unit_takes_effect_at_once(super_admin, owner, organisation):
    apply_all(save(super_admin, organisation.support_unit, ON))
    move_unit(actor=SYSTEM, unit=organisation.partner_desk, parent=organisation.support_unit)
    assert allowed(owner)


def test_moving_an_account_takes_effect_at_once(super_admin, owner, organisation):
    apply_all(save(super_admin, organisation.support_unit, ON))
    move_user(actor=SYSTEM, user=owner, unit=organisation.support_unit)
    assert allowed(owner)

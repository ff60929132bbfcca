"""What held at a past time, and what will at a future one; beside test_rollout_property.py."""

from datetime import timedelta

import pytest

from accounts.models.people import EXPRESS_COHORT
from accounts.services.audit import Actor
from policies.services import (
    applied_value,
    apply_now_to_account,
    cohort_at,
    database_now,
    pause,
    return_express_guests,
    start_due_changes,
    values_planned,
)
from tests.policies.rows import (
    GATEWAY,
    INHERIT,
    MINUTES,
    OFF,
    ON,
    apply_due,
    clock,
    let_pass,
    save,
)

LAST = 12  # its wave comes after 45 of 60 minutes


def planned(unit, minutes, cohort=LAST):
    moment = values_planned(unit.path, cohort, database_now() + minutes * MINUTES)
    return moment.effective(GATEWAY)


@pytest.mark.parametrize(
    ("second", "at_50"),
    [
        (OFF, (False, 0)),  # the first one's last waves never come
        (INHERIT, (False, 0)),
        (ON, (True, 1)),  # but where both bring the same
    ],
)
def test_a_change_that_starts_ends_what_older_ones_had_left_to_bring(
    super_admin, organisation, second, at_50
):
    sales = organisation.sales
    save(super_admin, sales, ON)
    save(super_admin, sales, second, after=30 * MINUTES)
    told = planned(sales, 50)
    assert (told.allowed, told.version) == at_50
    assert planned(sales, 44).version == 0
    told = planned(organisation.partner_desk, 80)
    assert (told.allowed, told.version) == (second == ON, 0 if second is INHERIT else 2)
    for minutes in (50, 30):
        let_pass(minutes * MINUTES)
        start_due_changes(sales.pk)
        apply_due()
    assert applied_value(sales.path, LAST, GATEWAY) == told


def test_what_comes_by_then_is_named_in_its_order_and_what_is_paused_apart(
    super_admin, organisation
):
    first = save(super_admin, organisation.sales, ON)
    paused = save(super_admin, organisation.root, ON)
    later = save(super_admin, organisation.partner_desk, OFF, after=60 * MINUTES)
    pause(actor=Actor(super_admin), change=paused, based_on=0)
    at = database_now() + timedelta(hours=3)
    moment = values_planned(organisation.partner_desk.path, LAST, at)
    assert [(each.change, each.version) for each in moment.coming] == [(first, 1), (later, 1)]
    assert [each.at - database_now() for each in moment.coming] == [45 * MINUTES, 105 * MINUTES]
    assert moment.paused == [paused]
    assert moment.effective(GATEWAY).unit == organisation.partner_desk


def test_a_guest_of_the_express_cohort_was_in_its_own_before_and_is_after(
    super_admin, organisation, owner
):
    own = owner.cohort
    save(super_admin, organisation.sales, ON)
    before = clock()
    apply_now_to_account(actor=Actor(super_admin), user=owner, unit_id=owner.unit_id)
    between = clock()
    owner.refresh_from_db()
    assert (cohort_at(owner, before), cohort_at(owner, between)) == (own, EXPRESS_COHORT)
    let_pass(60 * MINUTES)
    apply_due()
    assert return_express_guests()
    owner.refresh_from_db()
    told = [cohort_at(owner, at) for at in (before, between, clock())]
    assert told == [own, EXPRESS_COHORT, own]

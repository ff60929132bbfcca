"""Whether own servers are allowed, by whom, and by when that changes."""

from datetime import timedelta

from accounts.services.audit import Actor
from policies.models import Setting
from policies.services import change_policy
from sendas.services.allowance import gateway_allowance
from tests.sendas.conftest import apply_policy


def test_the_allowance_is_off_where_nobody_set_anything(owner):
    assert gateway_allowance(owner) == (False, "", None, False, None, None, None)


def test_the_allowance_says_who_decided_and_since_when(owner, allowed):
    allowance = gateway_allowance(owner)
    assert allowance.allowed
    assert allowance.unit == owner.unit.name
    assert allowance.since is not None


def test_the_allowance_says_by_when_a_saved_change_arrives(owner, super_admin, organisation):
    change = save_policy(super_admin, organisation.sales, {"allowed": True})
    wave = change.waves.get(cohort=owner.cohort)
    wave.due_at += timedelta(hours=1)  # whichever cohort the account is in: not due yet
    wave.save()
    coming = (False, "", None, True, change.created_at, None, wave.due_at)
    assert gateway_allowance(owner) == coming
    wave.due_at -= timedelta(hours=5)  # late
    wave.save()
    assert gateway_allowance(owner).changes_by == change.complete_by


def test_a_change_that_alters_nothing_for_the_account_is_not_announced(
    owner, super_admin, organisation
):
    apply_policy(owner, value={"allowed": False})
    save_policy(super_admin, organisation.partner_desk, {"allowed": False})
    save_policy(super_admin, organisation.sales, {"allowed": True})
    assert gateway_allowance(owner).changes_by is None


def save_policy(admin, unit, value):
    return change_policy(
        actor=Actor(admin), unit=unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY, value=value,
        based_on=0,
    )  # fmt: skip

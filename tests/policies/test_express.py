"""One account ahead of the others: through the express cohort and back."""

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from accounts.models import AuditEvent, User
from accounts.models.people import EXPRESS_COHORT
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import move_user
from policies.models import Setting
from policies.rules import rules_of
from policies.services import (
    apply_now_to_account,
    forecast,
    forecasts,
    forecasts_by_account,
    pause,
    return_express_guests,
    undo,
)
from tests.console.rows import OTHER_SETTINGS
from tests.policies.rows import GATEWAY, MINUTES, OFF, ON, allowed, apply_due, let_pass, save

GUARDRAILS = Setting.GATEWAY_GUARDRAILS


@pytest.fixture
def account(owner):
    User.objects.filter(pk=owner.pk).update(cohort=9)
    owner.refresh_from_db()
    return owner


def hurry(admin, user, unit_id=None):
    apply_now_to_account(actor=Actor(admin), user=user, unit_id=unit_id or user.unit_id)
    user.refresh_from_db()


def test_the_account_takes_everything_pending_and_returns_when_nothing_is(
    super_admin, account, colleague, organisation
):
    save(super_admin, organisation.root, OFF)
    save(super_admin, organisation.sales, ON)
    apply_due()
    assert not allowed(account)
    hurry(super_admin, account)
    assert (account.cohort, account.returns_to) == (EXPRESS_COHORT, 9)
    assert allowed(account)
    assert not allowed(colleague) or colleague.cohort == 1
    assert return_express_guests() == 0
    let_pass(60 * MINUTES)
    apply_due()
    assert return_express_guests() == 1
    account.refresh_from_db()
    assert (account.cohort, account.returns_to) == (9, None)
    assert allowed(account)


def test_a_change_saved_meanwhile_reaches_a_guest_first(super_admin, account, organisation):
    save(super_admin, organisation.sales, ON)
    apply_due()
    hurry(super_admin, account)
    save(super_admin, organisation.sales, OFF)
    apply_due()
    assert not allowed(account)


def test_a_paused_change_reaches_the_account_all_the_same(super_admin, account, organisation):
    change = save(super_admin, organisation.sales, ON)
    apply_due()
    pause(actor=Actor(super_admin), change=change, based_on=0)
    hurry(super_admin, account)
    assert allowed(account)
    let_pass(120 * MINUTES)
    assert return_express_guests() == 0


def test_changes_of_other_units_keep_nobody(super_admin, account, organisation):
    save(super_admin, organisation.sales, ON)
    hurry(super_admin, account)
    let_pass(60 * MINUTES)
    apply_due()
    save(super_admin, organisation.support_unit, ON)
    assert return_express_guests() == 1


def test_who_lives_in_the_express_cohort_stays(super_admin, owner, organisation):
    User.objects.filter(pk=owner.pk).update(cohort=EXPRESS_COHORT)
    owner.refresh_from_db()
    save(super_admin, organisation.sales, ON)
    with pytest.raises(ValidationError, match="in the express cohort already"):
        hurry(super_admin, owner)
    assert return_express_guests() == 0


def test_without_anything_pending_or_for_an_account_that_was_moved_nothing_is_done(
    super_admin, account, organisation
):
    with pytest.raises(ValidationError, match="it has every change"):
        hurry(super_admin, account)
    save(super_admin, organisation.root, ON)
    seen = account.unit_id
    move_user(actor=SYSTEM, user=account, unit=organisation.support_unit)
    with pytest.raises(ValidationError, match="was moved to Support meanwhile"):
        hurry(super_admin, account, seen)
    account.refresh_from_db()
    assert account.cohort == 9


@pytest.mark.parametrize("name", ["owner", "support", "unit_admin"])
def test_only_who_administers_the_accounts_unit_may(
    name, request, super_admin, stranger, organisation
):
    save(super_admin, organisation.root, ON)
    with pytest.raises(PermissionDenied):
        hurry(request.getfixturevalue(name), stranger)


def test_going_and_returning_are_in_the_audit(super_admin, account, organisation):
    change = save(super_admin, organisation.sales, ON)
    hurry(super_admin, account)
    let_pass(60 * MINUTES)
    apply_due()
    return_express_guests()
    return_express_guests()
    going = AuditEvent.objects.get(name="account_applied_now")
    assert (going.target, going.actor_address) == (account.primary_address, "admin@yourdomain.com")
    assert going.details["changes"] == [change.pk]
    assert AuditEvent.objects.get(name="account_returned_to_cohort").details == {"cohort": 9}


# --- what is told of one account ---------------------------------------------------------------


def told(user):
    seen = forecast(user, GATEWAY)
    return seen.allowed, [(step.change.new, step.allowed, bool(step.at)) for step in seen.steps]


def test_the_forecast_names_what_comes_and_what_changes_the_answer(
    super_admin, account, organisation
):
    assert told(account) == (False, [])
    near = save(super_admin, organisation.partner_desk, ON)
    far = save(super_admin, organisation.root, OFF)
    assert told(account) == (False, [(ON, True, True), (OFF, True, True)])
    step = forecast(account, GATEWAY).turn
    assert step.change == near
    assert step.at == near.waves.get(cohort=9).due_at
    pause(actor=Actor(super_admin), change=near, based_on=0)
    assert told(account) == (False, [(OFF, False, True), (ON, True, False)])
    let_pass(60 * MINUTES)
    apply_due()
    assert forecast(account, GATEWAY).applied.unit == organisation.root
    assert far.waves.get(cohort=9).applied_at


def test_the_forecast_knows_what_is_scheduled(super_admin, account, organisation):
    later = save(super_admin, organisation.sales, ON, after=90 * MINUTES)
    step = forecast(account, GATEWAY).turn
    assert (step.change, step.is_scheduled) == (later, True)
    assert 30 * MINUTES < step.at - later.starts_at < 45 * MINUTES


def test_a_late_wave_is_promised_for_the_end_of_the_window(super_admin, account, organisation):
    change = save(super_admin, organisation.sales, ON)
    let_pass(50 * MINUTES)
    change.refresh_from_db()
    step = forecast(account, GATEWAY).turn
    assert (step.at, step.is_late) == (change.complete_by, True)


def test_a_wave_that_waits_for_the_next_sweep_is_not_late(super_admin, account, organisation):
    change = save(super_admin, organisation.sales, ON)
    undo(actor=Actor(super_admin), change=change, based_on=0)
    step = forecast(account, GATEWAY).steps[0]
    assert (step.change.undoes, step.is_late) == (change, False)


@pytest.mark.parametrize("changes", [1, 8])
def test_a_forecast_costs_the_same_queries_with_more_changes(
    changes, super_admin, account, organisation, django_assert_num_queries
):
    for version in range(changes):
        save(super_admin, organisation.sales, OFF if version % 2 else ON)
        save(super_admin, organisation.root, OFF if version % 2 else ON, after=MINUTES)
    user = User.objects.select_related("unit").get(pk=account.pk)
    with django_assert_num_queries(6):
        forecast(user, GATEWAY)
    for setting, value, _words in OTHER_SETTINGS:
        save(super_admin, organisation.sales, value, setting=setting)
    with django_assert_num_queries(6):
        assert len(forecasts_by_account([user, super_admin])[user.pk].hurried) >= 4


def test_of_every_setting_the_steps_stand_in_order_of_time(super_admin, account, organisation):
    later = save(super_admin, organisation.root, ON, after=90 * MINUTES)
    changes = [
        save(super_admin, organisation.sales, value, setting=setting)
        for setting, value, _words in OTHER_SETTINGS
    ]
    pause(actor=Actor(super_admin), change=changes[0], based_on=0)
    told = forecasts(account)
    assert [step.change for step in told.steps] == [*changes[1:], later, changes[0]]
    assert [step.change for step in told.hurried] == [*changes[1:], changes[0]]
    for setting, value, _words in OTHER_SETTINGS[1:]:
        assert told.of[setting].turn.value == value
    assert told.of[GATEWAY].turn.change == later
    assert not told.of[GATEWAY].allowed


def test_guardrails_of_several_units_are_told_merged(super_admin, account, organisation):
    approval, few = {"approval": {"needed": True}}, {"addresses": {"most": 2}}
    save(super_admin, organisation.root, approval, setting=GUARDRAILS)
    let_pass(60 * MINUTES)
    apply_due()
    save(super_admin, organisation.sales, few, setting=GUARDRAILS)
    told = forecast(account, GUARDRAILS)
    assert (told.value["approval"], told.value["addresses"]["most"]) == ({"needed": True}, 99)
    assert (told.turn.value["approval"], told.turn.value["addresses"]) == (
        {"needed": True},
        {"most": 2},
    )
    coming = {rule.label: (rule.unit, rule.then) for rule in rules_of(forecasts(account))}
    assert coming["Approval"] == ("yourdomain.com", "")
    assert coming["Addresses per person"] == ("", "at most 2")

"""Pause, resume, apply now, undo, schedule: what each does, and to whom it says no."""

import threading
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction

from accounts.models import AuditEvent, OrgUnit, RoleAssignment
from accounts.services.audit import Actor
from policies.models import PolicyChange, RolloutAction, RolloutWave
from policies.services import (
    apply_now,
    cancel,
    database_now,
    pause,
    reschedule,
    resume,
    rollout_state,
    saved_value,
    scheduled_changes,
    start_due_changes,
    undo,
)
from tests.policies.rows import (
    GATEWAY,
    INHERIT,
    MINUTES,
    OFF,
    ON,
    apply_due,
    apply_wave,
    have_it,
    let_pass,
    save,
    wait_until_somebody_waits,
)

EVERYBODY = set(range(13))


def act(action, admin, change, based_on=None, **details):
    if based_on is None:
        based_on = change.actions.count()
    return action(actor=Actor(admin), change=change, based_on=based_on, **details)


def state(change):
    change.refresh_from_db()
    return rollout_state(change, change.waves.all())


def refusal(action, admin, change, based_on=None, **details):
    """What the administrator hears; and nothing was done."""
    before = snapshot()
    with pytest.raises(ValidationError) as refused:
        act(action, admin, change, based_on, **details)
    assert snapshot() == before
    return refused.value.messages[0]


def snapshot():
    models = (PolicyChange, RolloutWave, RolloutAction, AuditEvent)
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.fixture
def halfway(super_admin, organisation):
    """A change of Sales 20 minutes on its way: the express cohort and five of twelve have it."""
    change = save(super_admin, organisation.sales, ON)
    let_pass(20 * MINUTES)
    assert apply_due() == [0, 1, 2, 3, 4, 5]
    return change


# --- pause and resume ---------------------------------------------------------------------------


def test_a_paused_change_stands_still_and_then_goes_on_as_gradually(
    super_admin, organisation, halfway
):
    act(pause, super_admin, halfway)
    assert state(halfway) == "paused"
    let_pass(120 * MINUTES)
    assert apply_due() == []
    resumed = act(resume, super_admin, halfway)
    assert state(halfway) == "rolling"
    assert apply_due() == []
    # It was 20 minutes old when it stood still.
    assert resumed.complete_by - database_now() == pytest.approx(
        40 * MINUTES, abs=timedelta(seconds=2)
    )
    let_pass(5 * MINUTES)
    assert apply_due() == [6, 7]
    let_pass(20 * MINUTES)
    assert apply_due() == [8, 9, 10, 11, 12]
    assert have_it(organisation.sales) == EVERYBODY


def test_what_a_worker_was_told_before_the_pause_is_not_applied_after_it(super_admin, halfway):
    let_pass(30 * MINUTES)
    told = [wave.pk for wave in RolloutWave.objects.due()]
    act(pause, super_admin, halfway)
    assert not any(apply_wave(pk) for pk in told)


@pytest.mark.django_db(transaction=True)
def test_a_pause_waits_for_the_wave_that_is_being_applied(super_admin, organisation):
    change = save(super_admin, organisation.sales, ON)

    def work():
        act(pause, super_admin, change, 0)
        connection.close()

    pausing = threading.Thread(target=work)
    with transaction.atomic():
        assert apply_wave(change.waves.get(cohort=0).pk)
        pausing.start()
        wait_until_somebody_waits()
    pausing.join()
    assert state(change) == "paused"
    held = change.waves.filter(paused_at__isnull=False)
    assert set(held.values_list("cohort", flat=True)) == EVERYBODY - {0}


def test_resuming_a_superseded_change_is_refused_and_says_by_which(
    super_admin, organisation, halfway
):
    act(pause, super_admin, halfway)
    newer = save(super_admin, organisation.sales, OFF)
    assert state(halfway) == "replaced"
    words = refusal(resume, super_admin, halfway)
    assert words.startswith(f"Change {newer.pk} replaced this one at ")


def test_a_newer_change_to_the_same_value_leaves_the_older_its_waves(
    super_admin, organisation, halfway
):
    act(pause, super_admin, halfway)
    later = save(super_admin, organisation.sales, ON, after=5 * MINUTES)
    let_pass(5 * MINUTES)
    assert start_due_changes(organisation.sales.pk) == 1
    assert (state(halfway), state(later)) == ("paused", "rolling")
    act(resume, super_admin, halfway)
    let_pass(25 * MINUTES)
    apply_due()
    assert have_it(organisation.sales) == EVERYBODY
    assert (state(halfway), state(later)) == ("complete", "rolling")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (resume, "there is nothing to resume"),
        (cancel, "there is nothing to resume, to cancel"),
    ],
)
def test_what_the_state_does_not_allow_is_refused_with_the_reason(
    super_admin, halfway, action, words
):
    assert words in refusal(action, super_admin, halfway)


# --- apply now ----------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
def test_applied_now_every_wave_is_due_at_once(super_admin, organisation, halfway, paused):
    if paused:
        act(pause, super_admin, halfway)
    promised = halfway.complete_by
    hurried = act(apply_now, super_admin, halfway)
    assert len(apply_due()) == 7
    assert have_it(organisation.sales) == EVERYBODY
    assert hurried.complete_by < promised
    assert state(halfway) == "complete"


def test_applying_late_waves_now_promises_nothing_later_than_before(super_admin, halfway):
    let_pass(30 * MINUTES)
    halfway.refresh_from_db()
    assert act(apply_now, super_admin, halfway).complete_by == halfway.complete_by


# --- undo -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
def test_undone_in_the_middle_who_has_it_loses_it_at_once_and_nobody_else_gets_it(
    super_admin, organisation, halfway, paused
):
    if paused:
        act(pause, super_admin, halfway)
    back = act(undo, super_admin, halfway, reason="The partner's server is down.")
    assert (back.old, back.new, back.undoes, back.version) == (ON, INHERIT, halfway, 2)
    assert back.reason == "The partner's server is down."
    assert set(apply_due()) == EVERYBODY
    assert have_it(organisation.sales) == set()
    let_pass(120 * MINUTES)
    assert apply_due() == []
    assert have_it(organisation.sales) == set()
    assert (state(halfway), state(back)) == ("replaced", "complete")


def test_undone_after_completion_everybody_loses_it_at_once(super_admin, organisation):
    change = save(super_admin, organisation.sales, ON)
    let_pass(60 * MINUTES)
    apply_due()
    back = act(undo, super_admin, change)
    assert set(apply_due()) == EVERYBODY
    assert have_it(organisation.sales) == set()
    assert (state(change), state(back)) == ("complete", "complete")


def test_what_the_undone_change_had_stopped_goes_out_gradually(super_admin, organisation, halfway):
    """Five of twelve had On when Off replaced it, and two of these had Off when it was undone."""
    off = save(super_admin, organisation.sales, OFF)
    let_pass(5 * MINUTES)
    assert apply_due() == [0, 1, 2]
    act(undo, super_admin, off)
    assert sorted(apply_due()) == [0, 1, 2, 3, 4, 5]
    assert have_it(organisation.sales) == {0, 1, 2, 3, 4, 5}
    let_pass(21 * MINUTES)
    assert apply_due() == [6]
    let_pass(25 * MINUTES)
    apply_due()
    assert have_it(organisation.sales) == EVERYBODY


def test_only_the_newest_change_can_be_undone(super_admin, organisation):
    first = save(super_admin, organisation.sales, ON)
    apply_now(actor=Actor(super_admin), change=first, based_on=0)
    apply_due()
    newest = save(super_admin, organisation.sales, OFF)
    assert f"Change {newest.pk} came after this one." in refusal(undo, super_admin, first)


def test_an_undo_is_not_undone_for_it_would_give_everybody_at_once_what_a_few_had(
    super_admin, halfway
):
    back = act(undo, super_admin, halfway)
    assert "This change is itself an undo." in refusal(undo, super_admin, back)


def test_a_change_to_the_same_value_has_nothing_to_go_back_to(super_admin, organisation, halfway):
    same = save(super_admin, organisation.sales, ON, after=MINUTES)
    let_pass(MINUTES)
    start_due_changes(organisation.sales.pk)
    same.refresh_from_db()
    assert "nothing to go back to" in refusal(undo, super_admin, same)


# --- schedule -------------------------------------------------------------------------------------


def test_a_scheduled_change_takes_its_version_and_writes_its_waves_when_it_starts(
    super_admin, organisation
):
    change = save(super_admin, organisation.sales, ON, after=90 * MINUTES)
    assert (change.version, change.waves.count(), state(change)) == (None, 0, "scheduled")
    assert not saved_value(organisation.sales, GATEWAY).allowed
    assert scheduled_changes(organisation.sales, GATEWAY) == [change]
    assert start_due_changes(organisation.sales.pk) == 0
    let_pass(90 * MINUTES)
    assert start_due_changes(organisation.sales.pk) == 1
    assert start_due_changes(organisation.sales.pk) == 0
    change.refresh_from_db()
    assert (change.version, change.waves.count(), state(change)) == (1, 13, "rolling")
    assert saved_value(organisation.sales, GATEWAY).allowed
    assert change.complete_by - change.starts_at == 60 * MINUTES
    assert apply_due() == [0, 1]


def test_a_change_that_starts_late_still_keeps_its_hour(super_admin, organisation):
    """As when beat was away at the time."""
    change = save(super_admin, organisation.sales, ON, after=MINUTES)
    let_pass(11 * MINUTES)
    start_due_changes(organisation.sales.pk)
    change.refresh_from_db()
    assert change.complete_by - database_now() <= 50 * MINUTES
    assert apply_due() == [0, 1, 2, 3]


def test_what_is_saved_meanwhile_is_what_a_scheduled_change_replaces(super_admin, organisation):
    scheduled = save(super_admin, organisation.sales, INHERIT, after=30 * MINUTES)
    between = save(super_admin, organisation.sales, ON)
    let_pass(30 * MINUTES)
    start_due_changes(organisation.sales.pk)
    scheduled.refresh_from_db()
    assert (scheduled.old, scheduled.new, scheduled.version) == (ON, INHERIT, 2)
    assert state(between) == "replaced"


def test_those_that_waited_for_a_worker_start_in_the_order_of_their_times(
    super_admin, organisation
):
    last = save(super_admin, organisation.sales, OFF, after=20 * MINUTES)
    first = save(super_admin, organisation.sales, ON, after=10 * MINUTES)
    let_pass(30 * MINUTES)
    assert start_due_changes(organisation.sales.pk) == 2
    first.refresh_from_db()
    last.refresh_from_db()
    assert (first.version, last.version) == (1, 2)


@pytest.mark.parametrize(
    ("after", "words"),
    [(-MINUTES, "That time has passed: it is "), (timedelta(days=400), "more than a year away")],
)
def test_a_time_that_cannot_be_is_refused(super_admin, organisation, after, words):
    with pytest.raises(ValidationError, match=words):
        save(super_admin, organisation.sales, ON, after=after)
    assert not PolicyChange.objects.exists()
    change = save(super_admin, organisation.sales, ON, after=MINUTES)
    starts_at = database_now() + after
    assert words in refusal(reschedule, super_admin, change, starts_at=starts_at)


def test_a_scheduled_change_is_moved_cancelled_or_started_now(super_admin, organisation):
    changes = [save(super_admin, organisation.sales, ON, after=5 * MINUTES) for _ in range(3)]
    moved, cancelled, hurried = changes
    starts_at = database_now() + 50 * MINUTES
    act(reschedule, super_admin, moved, starts_at=starts_at)
    act(cancel, super_admin, cancelled, reason="Not yet.")
    act(apply_now, super_admin, hurried)
    assert set(apply_due()) == EVERYBODY
    let_pass(5 * MINUTES)
    assert start_due_changes(organisation.sales.pk) == 0
    assert [state(change) for change in changes] == ["scheduled", "cancelled", "complete"]
    assert moved.complete_by == starts_at + 55 * MINUTES
    assert "cancelled before it started" in refusal(
        reschedule, super_admin, cancelled, starts_at=starts_at
    )


def test_what_was_scheduled_for_a_unit_that_is_gone_is_cancelled(super_admin, organisation):
    change = save(super_admin, organisation.partner_desk, ON, after=MINUTES)
    unit_id = organisation.partner_desk.pk
    OrgUnit.objects.get(pk=unit_id).delete()
    let_pass(MINUTES)
    assert start_due_changes(unit_id) == 1
    assert state(change) == "cancelled"
    assert change.actions.get().reason == "The unit no longer exists."


# --- who may, and who was first ------------------------------------------------------------------


def test_of_two_administrators_the_second_hears_who_was_first(super_admin, unit_admin, halfway):
    act(pause, unit_admin, halfway, 0)
    for action in (pause, undo, apply_now):
        words = refusal(action, super_admin, halfway, 0)
        assert words.startswith("sales-admin@yourdomain.com paused it at ")


@pytest.mark.django_db(transaction=True)
def test_of_two_at_the_same_moment_one_wins(super_admin, unit_admin, organisation):
    change = save(super_admin, organisation.sales, ON)
    heard = []

    def work(admin, action):
        try:
            act(action, admin, change, 0)
        except ValidationError as refused:
            heard.append(refused.messages[0])
        connection.close()

    pairs = [(super_admin, pause), (unit_admin, undo)]
    both = [threading.Thread(target=work, args=pair) for pair in pairs]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert change.actions.count() == 1
    assert len(heard) == 1


@pytest.mark.parametrize("action", [pause, apply_now, undo])
@pytest.mark.parametrize("name", ["owner", "support", "unit_admin"])
def test_only_who_administers_the_unit_acts(name, action, request, super_admin, organisation):
    change = save(super_admin, organisation.support_unit, ON)
    with pytest.raises(PermissionDenied):
        act(action, request.getfixturevalue(name), change)
    assert not change.actions.exists()


def test_a_right_that_was_taken_away_meanwhile_is_gone(unit_admin, halfway):
    RoleAssignment.objects.filter(user=unit_admin).delete()
    for action in (pause, apply_now, undo):
        with pytest.raises(PermissionDenied):
            act(action, unit_admin, halfway)


def test_a_change_of_a_unit_that_is_gone_can_only_be_read(super_admin, organisation):
    change = save(super_admin, organisation.partner_desk, ON)
    OrgUnit.objects.get(pk=organisation.partner_desk.pk).delete()
    assert "no longer exists" in refusal(undo, super_admin, change)


def test_saving_for_a_unit_that_is_gone_says_so(super_admin, organisation):
    OrgUnit.objects.get(pk=organisation.partner_desk.pk).delete()
    with pytest.raises(ValidationError, match="no longer exists"):
        save(super_admin, organisation.partner_desk, ON, based_on=0)


def test_every_action_is_in_the_audit_once_with_who_and_why(super_admin, unit_admin, organisation):
    change = save(super_admin, organisation.sales, ON, after=MINUTES, reason="a")
    later = database_now() + 2 * MINUTES
    act(reschedule, unit_admin, change, starts_at=later, reason="b")
    let_pass(2 * MINUTES)
    start_due_changes(organisation.sales.pk)
    act(pause, unit_admin, change, reason="c")
    act(resume, super_admin, change, reason="d")
    act(apply_now, super_admin, change, reason="e")
    act(undo, unit_admin, change, reason="f")
    events = AuditEvent.objects.filter(name__startswith="policy_").order_by("id")
    assert [(each.name, each.actor_address[:5], each.details["reason"]) for each in events] == [
        ("policy_change_scheduled", "admin", "a"),
        ("policy_rollout_rescheduled", "sales", "b"),
        ("policy_changed", "admin", "a"),
        ("policy_rollout_paused", "sales", "c"),
        ("policy_rollout_resumed", "admin", "d"),
        ("policy_rollout_applied_now", "admin", "e"),
        ("policy_changed", "sales", "f"),
        ("policy_rollout_undone", "sales", "f"),
    ]

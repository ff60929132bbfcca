"""Whatever administrators, waves and movers do in whatever order, each account has its value.

Time passes by moving the waves' due times back, not by waiting: PostgreSQL's clock itself stays.
`make soak` asks for the long run.
"""

from datetime import timedelta

import hypothesis
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import OrgUnit, RoleAssignment, User
from accounts.services.audit import SYSTEM, Actor
from accounts.services.directory import create_unit, move_unit
from accounts.services.people import create_user, move_user
from accounts.services.roles import assign_role
from policies.guardrails import Guardrail
from policies.models import GatewayPolicy, PolicyChange, RolloutWave, Setting
from policies.services import (
    StalePolicyError,
    applied_guardrails,
    applied_value,
    apply_now,
    apply_now_to_account,
    apply_waves,
    cancel,
    change_policy,
    database_now,
    pause,
    reschedule,
    resume,
    return_express_guests,
    rollout_state,
    start_due_changes,
    undo,
    values_at,
    values_planned,
)
from tests.policies.reference import Reference
from tests.policies.rows import apply_wave, clock

STEP = 300  # seconds between the waves of two cohorts
WINDOW = STEP * 11 * 4 // 3  # 11 steps fill three quarters of it
UNHURRIED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
SHORT = hypothesis.settings(max_examples=50, stateful_step_count=30, **UNHURRIED)
LONG = hypothesis.settings(max_examples=10_000, stateful_step_count=50, **UNHURRIED)

ACTIONS = {
    "pause": pause,
    "resume": resume,
    "apply now": apply_now,
    "undo": undo,
    "reschedule": reschedule,
    "cancel": cancel,
}

TREE = {
    "top": None,
    "sales": "top",
    "desk": "sales",
    "corner": "desk",
    "support": "top",
    "night": "support",
}
COHORTS = (0, 2, 12)
ALL_COHORTS = range(13)
CLOCKS = [
    ("policies_policychange", "starts_at"),
    ("policies_policychange", "complete_by"),
    ("policies_rolloutwave", "due_at"),
    ("policies_rolloutwave", "paused_at"),
]
PLACES = ("desk", "corner", "night")
PAST_LOOKED_AT = 3

units = st.sampled_from(list(TREE))
# Few, so that changes meet.
changed_units = st.sampled_from(["top", "sales", "desk", "desk"])
accounts = st.sampled_from([f"{unit}-{cohort}" for unit in PLACES for cohort in COHORTS])
values = st.sampled_from([True, False, None])
half_steps = st.sampled_from([1, 2, 4, 8, 24])


def in_seconds(span):
    return round(span.total_seconds())


class Allowed:
    """The first setting: the deepest value holds."""

    setting = Setting.PER_USER_OUTBOUND_GATEWAY

    @staticmethod
    def as_json(value):
        return {"allowed": value}

    @classmethod
    def told(cls, path, cohort):
        """The value, the unit that decided it and the version it came with."""
        return cls.in_short(applied_value(path, cohort, cls.setting))

    @classmethod
    def told_of(cls, moment):
        return cls.in_short(moment.effective(cls.setting))

    @staticmethod
    def in_short(effective):
        unit = effective.unit.name if effective.unit else None
        return effective.allowed, unit, effective.version


class NeedsApproval:
    """A guardrail: merged from all units on the way."""

    setting = Setting.GATEWAY_GUARDRAILS

    @staticmethod
    def as_json(value):
        return {"approval": {"needed": value}}

    @classmethod
    def told(cls, path, cohort):
        return cls.in_short(applied_guardrails(path, cohort))

    @classmethod
    def told_of(cls, moment):
        return cls.in_short(moment.guardrails())

    @staticmethod
    def in_short(guardrails):
        unit, version = guardrails.decider(Guardrail.APPROVAL)
        return guardrails.needs_approval, unit or None, version


class Rollout(RuleBasedStateMachine):
    """The services and the reference model, side by side; each example is rolled back."""

    def __init__(self):
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.reference = Reference(STEP, ALL_COHORTS)
        self.reference.parent = dict(TREE)
        self.seen = []  # times, each with what was told of places and cohorts
        self.ids = dict(OrgUnit.objects.values_list("name", "pk"))
        self.administrator = Actor(User.objects.get(name="administrator"))
        for user in User.objects.exclude(name="administrator").select_related("unit"):
            self.reference.home[user.name] = (user.unit.name, user.cohort)

    @initialize(about=st.sampled_from([Allowed, NeedsApproval]))
    def choose_a_setting(self, about):
        self.about = about

    def teardown(self):
        try:
            self.the_past_is_told_as_it_was()
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    def the_past_is_told_as_it_was(self):
        for at, told in self.seen[:: max(len(self.seen) // PAST_LOOKED_AT, 1)]:
            assert told == {
                (path, cohort): self.about.told_of(values_at(path, cohort, at))
                for path, cohort in told
            }

    def unit(self, name):
        return OrgUnit.objects.get(pk=self.ids[name])

    def moment(self, after):
        return None if after is None else database_now() + timedelta(seconds=after)

    def answer(self, unit, value, based_on, after):
        try:
            change = change_policy(
                actor=self.administrator,
                unit=self.unit(unit),
                setting=self.about.setting,
                value=None if value is None else self.about.as_json(value),
                based_on=based_on,
                starts_at=self.moment(after),
            )
        except StalePolicyError:
            return "stale"
        except ValidationError:
            return "refused"
        return "saved" if change else "nothing to change"

    @rule(unit=changed_units, value=values, off_by=st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1]))
    def save(self, unit, value, off_by):
        """What an administrator saw may be older than what there is, or never have been."""
        based_on = max(self.reference.version(unit) + off_by, 0)
        expected = self.reference.save(unit, value, based_on)
        assert self.answer(unit, value, based_on, None) == expected

    @rule(unit=changed_units, value=values, halves=st.sampled_from([-1, 0, 1, 3, 8]))
    def schedule(self, unit, value, halves):
        based_on, after = self.reference.version(unit), halves * STEP // 2
        expected = self.reference.save(unit, value, based_on, self.reference.now + after)
        assert self.answer(unit, value, based_on, after) == expected

    # Every moment is a multiple of half a step, and an example is one transaction, in which the
    # clock stands still.
    @rule(halves=half_steps, swept=st.booleans())
    def let_time_pass(self, halves, swept):
        seconds = halves * STEP // 2
        self.reference.now += seconds
        with connection.cursor() as cursor:
            for table, column in CLOCKS:
                cursor.execute(
                    f"UPDATE {table} SET {column} = {column} - make_interval(secs => %s)",
                    [seconds],
                )
        if swept:
            self.sweep()

    @rule()
    def sweep(self):
        """What the worker does: everything that is due."""
        for unit_id in set(PolicyChange.objects.due().values_list("unit_id", flat=True)):
            assert start_due_changes(unit_id)
        due = list(RolloutWave.objects.due().values_list("pk", flat=True))
        assert apply_waves(due) == len(due)
        return_express_guests()
        self.reference.start_what_is_due()
        for unit, changes in self.reference.changes.items():
            for change in changes:
                for cohort in ALL_COHORTS:
                    self.reference.wave(unit, change, cohort)
        self.reference.let_guests_return()

    @rule(halves=st.sampled_from([1, 2, 5]), account=accounts)
    def see_what_was_foreseen(self, halves, account):
        """With a sweep for each half step, as in life: what starts ends what has not come yet."""
        user = User.objects.select_related("unit").get(name=account)
        place = user.unit.path, user.cohort
        at = self.moment(halves * STEP // 2)
        foreseen = self.about.told_of(values_planned(*place, at))
        self.sweep()
        for _half in range(halves):
            self.let_time_pass(1, swept=True)
        assert self.about.told(*place) == foreseen

    def draw_change(self, data):
        unit = data.draw(st.sampled_from(list(self.reference.changes)))
        return unit, data.draw(st.integers(0, len(self.reference.changes[unit]) - 1))

    def row(self, unit, number):
        """Both sides keep the changes of a unit in the order of saving."""
        return PolicyChange.objects.filter(unit_id=self.ids[unit]).order_by("id")[number]

    @precondition(lambda self: self.reference.changes)
    @rule(data=st.data())
    def apply_any_wave(self, data):
        """Too early, late, held, superseded or a second time: as a task may be delivered."""
        unit, number = self.draw_change(data)
        cohort = data.draw(st.sampled_from(COHORTS))
        for wave in self.row(unit, number).waves.filter(cohort=cohort):
            apply_wave(wave.pk)
        self.reference.wave(unit, self.reference.changes[unit][number], cohort)

    def sensible_actions(self):
        """What the state of each change allows; what is paused mostly goes on."""
        return [
            (action, unit, number)
            for unit, changes in self.reference.changes.items()
            for number, change in enumerate(changes)
            for action in (*ACTIONS, *["resume"] * 5)
            if change.state in self.reference.POSSIBLE[action]
        ]

    @precondition(lambda self: self.sensible_actions())
    @rule(
        data=st.data(),
        halves=st.sampled_from([1, 3, 8]),
        later=st.sampled_from([0, 1, 3]),
        swept=st.booleans(),
    )
    def act_sensibly(self, data, halves, later, swept):
        """After some time: what takes none shows nothing of a pause."""
        self.let_time_pass(later, swept)
        if sensible := self.sensible_actions():
            action, unit, number = data.draw(st.sampled_from(sensible))
            change = self.reference.changes[unit][number]
            self.act(action, unit, number, change.actions, halves)

    @precondition(lambda self: self.reference.changes)
    @rule(data=st.data(), action=st.sampled_from(list(ACTIONS)), off_by=st.sampled_from([-1, 0, 1]))
    def act_in_any_state(self, data, action, off_by):
        """What the state does not allow, and what another administrator was faster at."""
        unit, number = self.draw_change(data)
        change = self.reference.changes[unit][number]
        self.act(action, unit, number, change.actions + off_by, 3)

    def act(self, action, unit, number, based_on, halves):
        change, after = self.reference.changes[unit][number], halves * STEP // 2
        later = {"starts_at": self.moment(after)} if action == "reschedule" else {}
        expected = self.reference.act(action, unit, change, based_on, self.reference.now + after)
        row = self.row(unit, number)
        try:
            ACTIONS[action](actor=self.administrator, change=row, based_on=based_on, **later)
        except ValidationError:
            assert expected == "refused"
        else:
            assert expected == "done"

    @rule(account=accounts)
    def apply_now_to_an_account(self, account):
        expected = self.reference.apply_now_to(account)
        user = User.objects.get(name=account)
        try:
            apply_now_to_account(actor=self.administrator, user=user, unit_id=user.unit_id)
        except ValidationError:
            assert expected == "refused"
        else:
            assert expected == "done"

    @rule(unit=units, parent=units)
    def move_a_unit(self, unit, parent):
        if unit != "top" and parent not in self.reference.below(unit):
            move_unit(actor=SYSTEM, unit=self.unit(unit), parent=self.unit(parent))
            self.reference.parent[unit] = parent
            self.seen.clear()  # the past is asked of the tree as it is

    @rule(account=accounts, unit=units)
    def move_an_account(self, account, unit):
        move_user(actor=SYSTEM, user=User.objects.get(name=account), unit=self.unit(unit))
        self.reference.home[account] = (unit, self.reference.home[account][1])

    @invariant()
    def everybody_has_what_the_reference_says(self):
        users = User.objects.exclude(name="administrator").select_related("unit")
        has = {user.name: self.about.told(user.unit.path, user.cohort) for user in users}
        self.seen.append(
            (clock(), {(user.unit.path, user.cohort): has[user.name] for user in users})
        )
        assert has == {name: self.reference.value(name) for name in has}
        assert len(has) == len(PLACES) * len(COHORTS)

    @invariant()
    def every_change_is_there_with_its_version_its_state_and_its_waves_to_come(self):
        names = {key: name for name, key in self.ids.items()}
        now, rows = database_now(), {}
        for row in PolicyChange.objects.order_by("id").prefetch_related("waves"):
            waves = [each for each in row.waves.all() if not each.applied_at]
            due = {each.cohort: in_seconds(each.due_at - now) for each in waves}
            state = rollout_state(row, row.waves.all())
            to_come = {} if state == "replaced" else due
            rows.setdefault(names[row.unit_id], []).append((row.version, state, to_come))
        assert rows == {
            unit: [self.reference_tells(change) for change in changes]
            for unit, changes in self.reference.changes.items()
        }

    def reference_tells(self, change):
        to_come = {cohort: due - self.reference.now for cohort, due in change.due.items()}
        return change.version, change.state, to_come

    @invariant()
    def what_is_saved_is_the_newest_started_change(self):
        saved = GatewayPolicy.objects.values_list("unit__name", "version")
        assert dict(saved) == {
            unit: version
            for unit in self.reference.changes
            if (version := self.reference.version(unit))
        }


@pytest.fixture
def cast(organisation):
    """The tree with an account of every cohort in three of its units, and an administrator."""
    made = {"top": organisation.root}
    OrgUnit.objects.exclude(pk=organisation.root.pk).delete()
    OrgUnit.objects.filter(pk=organisation.root.pk).update(name="top")
    for name, parent in list(TREE.items())[1:]:
        made[name] = create_unit(actor=SYSTEM, name=name, parent=made[parent])
    for name in PLACES:
        for cohort in COHORTS:
            user = create_user(
                actor=SYSTEM,
                primary_address=f"{name}-{cohort}@yourdomain.com",
                name=f"{name}-{cohort}",
                unit=made[name],
            )
            User.objects.filter(pk=user.pk).update(cohort=cohort)
    administrator = create_user(
        actor=SYSTEM,
        primary_address="mina@yourdomain.com",
        name="administrator",
        unit=organisation.root,
    )
    assign_role(actor=SYSTEM, user=administrator, role=RoleAssignment.Role.SUPER_ADMIN)


@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
def test_every_account_has_what_replaying_its_events_gives(cast, settings):
    settings.OUTGATE_ROLLOUT_WINDOW = WINDOW
    run_state_machine_as_test(Rollout, settings=SHORT)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.django_db(transaction=True)
def test_so_it_is_in_10_000_examples_of_50_steps(cast, settings):
    settings.OUTGATE_ROLLOUT_WINDOW = WINDOW
    run_state_machine_as_test(Rollout, settings=LONG)

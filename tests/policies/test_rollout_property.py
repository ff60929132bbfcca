"""Whatever administrators, waves and movers do in whatever order, each account has its value.

Time passes by moving the waves' due times back, not by waiting: PostgreSQL's clock itself stays.
`OUTGATE_TEST_SOAK=1` asks for the long run.
"""

import os

import hypothesis
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import OrgUnit, RoleAssignment, User
from accounts.services.audit import SYSTEM, Actor
from accounts.services.directory import create_unit, move_unit
from accounts.services.people import assign_role, create_user, move_user
from policies.models import PolicyChange, RolloutWave, Setting
from policies.services import StalePolicyError, applied_value, apply_wave, change_policy
from tests.policies.reference import Reference

SETTING = Setting.PER_USER_OUTBOUND_GATEWAY
STEP = 300  # seconds between the waves of two cohorts
WINDOW = STEP * 11 * 4 // 3  # 11 steps fill three quarters of it
SOAK = "OUTGATE_TEST_SOAK" in os.environ
BUDGET = hypothesis.settings(
    max_examples=10_000 if SOAK else 50,
    stateful_step_count=50 if SOAK else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TREE = {
    "top": None,
    "sales": "top",
    "desk": "sales",
    "corner": "desk",
    "support": "top",
    "night": "support",
}
COHORTS = (0, 2, 12)
PLACES = ("desk", "corner", "night")

units = st.sampled_from(list(TREE))
# Few, so that changes meet.
changed_units = st.sampled_from(["top", "sales", "desk", "desk"])
accounts = st.sampled_from([f"{unit}-{cohort}" for unit in PLACES for cohort in COHORTS])
values = st.sampled_from([True, False, None])
half_steps = st.sampled_from([1, 2, 4, 8, 24])


def as_json(value):
    return None if value is None else {"allowed": value}


def told(effective):
    unit = effective.unit.name if effective.unit else None
    return effective.allowed, unit, effective.version


class Rollout(RuleBasedStateMachine):
    """The services and the reference model, side by side; each example is rolled back."""

    def __init__(self):
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.reference = Reference(STEP)
        self.reference.parent = dict(TREE)
        self.ids = dict(OrgUnit.objects.values_list("name", "pk"))
        self.administrator = Actor(User.objects.get(name="administrator"))
        for user in User.objects.exclude(name="administrator").select_related("unit"):
            self.reference.home[user.name] = (user.unit.name, user.cohort)

    def teardown(self):
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    def unit(self, name):
        return OrgUnit.objects.get(pk=self.ids[name])

    def answer(self, unit, value, based_on):
        try:
            change = change_policy(
                actor=self.administrator,
                unit=self.unit(unit),
                setting=SETTING,
                value=as_json(value),
                based_on=based_on,
            )
        except StalePolicyError:
            return "stale"
        return "saved" if change else "nothing to change"

    @rule(unit=changed_units, value=values, off_by=st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1]))
    def save(self, unit, value, off_by):
        """What an administrator saw may be older than what there is, or never have been."""
        based_on = max(len(self.reference.saved.get(unit, [])) + off_by, 0)
        assert self.answer(unit, value, based_on) == self.reference.save(unit, value, based_on)

    # Every moment is a multiple of half a step, so the milliseconds that an example really takes
    # never decide whether a wave is due.
    @rule(halves=half_steps, swept=st.booleans())
    def let_time_pass(self, halves, swept):
        seconds = halves * STEP // 2
        self.reference.now += seconds
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE policies_rolloutwave SET due_at = due_at - make_interval(secs => %s)",
                [seconds],
            )
        if swept:
            self.sweep()

    @rule()
    def sweep(self):
        """What the worker does: everything that is due."""
        for wave in list(RolloutWave.objects.due()):
            assert apply_wave(wave.pk)
        for unit, changes in self.reference.saved.items():
            for version in range(1, len(changes) + 1):
                for cohort in range(13):
                    self.reference.wave(unit, version, cohort)

    @precondition(lambda self: self.reference.saved)
    @rule(data=st.data())
    def apply_any_wave(self, data):
        """Too early, late, superseded or a second time: as a task may be delivered."""
        unit = data.draw(st.sampled_from(list(self.reference.saved)))
        version = data.draw(st.integers(1, len(self.reference.saved[unit])))
        cohort = data.draw(st.sampled_from(COHORTS))
        change = PolicyChange.objects.get(unit_id=self.ids[unit], version=version)
        apply_wave(change.waves.get(cohort=cohort).pk)
        self.reference.wave(unit, version, cohort)

    @rule(unit=units, parent=units)
    def move_a_unit(self, unit, parent):
        if unit != "top" and parent not in self.reference.below(unit):
            move_unit(actor=SYSTEM, unit=self.unit(unit), parent=self.unit(parent))
            self.reference.parent[unit] = parent

    @rule(account=accounts, unit=units)
    def move_an_account(self, account, unit):
        move_user(actor=SYSTEM, user=User.objects.get(name=account), unit=self.unit(unit))
        self.reference.home[account] = (unit, self.reference.home[account][1])

    @invariant()
    def everybody_has_what_the_reference_says(self):
        users = User.objects.exclude(name="administrator").select_related("unit")
        has = {
            user.name: told(applied_value(user.unit.path, user.cohort, SETTING)) for user in users
        }
        assert has == {name: self.reference.value(name) for name in self.reference.home}

    @invariant()
    def the_newest_version_is_the_number_of_changes(self):
        saved = sum(len(changes) for changes in self.reference.saved.values())
        assert PolicyChange.objects.count() == saved


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


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(0 if SOAK else 120)
def test_every_account_has_what_replaying_its_events_gives(cast, settings):
    settings.OUTGATE_ROLLOUT_WINDOW = WINDOW
    run_state_machine_as_test(Rollout, settings=BUDGET)

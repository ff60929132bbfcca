from django.db.models.functions import Now

from accounts.models import OrgUnit, User
from accounts.services.audit import Actor
from policies.models import PolicyChange, RolloutWave, Setting
from policies.services import applied_cohorts, change_policy
from tests.conftest import Organisation
from tests.policies.rows import apply_wave


def save(user: User, unit: OrgUnit, *, allowed: bool, based_on: int) -> PolicyChange:
    change = change_policy(
        actor=Actor(user),
        unit=unit,
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": allowed},
        based_on=based_on,
    )
    assert change is not None
    return change


def apply(change: PolicyChange, cohort: int) -> None:
    RolloutWave.objects.filter(change=change, cohort=cohort).update(due_at=Now())
    assert apply_wave(change.waves.get(cohort=cohort).pk)


def test_each_change_has_the_cohorts_that_have_it_or_a_newer_one(
    super_admin: User, organisation: Organisation, django_assert_num_queries: object
) -> None:
    first = save(super_admin, organisation.sales, allowed=True, based_on=0)
    apply(first, 1)
    apply(first, 2)
    second = save(super_admin, organisation.sales, allowed=False, based_on=1)
    apply(second, 2)
    apply(second, 5)
    elsewhere = save(super_admin, organisation.support_unit, allowed=True, based_on=0)
    with django_assert_num_queries(1):  # type: ignore[operator]
        found = applied_cohorts([first, second, elsewhere])
    assert found == {first.pk: {1, 2, 5}, second.pk: {2, 5}, elsewhere.pk: set()}

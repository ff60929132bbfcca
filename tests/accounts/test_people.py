import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from accounts.models import AuditEvent, Domain, RoleAssignment
from accounts.models.people import cohort_count, home_cohort
from accounts.services import people
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain
from accounts.services.roles import assign_role


def test_cohorts_are_stable_and_spread_over_all_but_the_express_cohort():
    cohorts = [home_cohort(uuid.UUID(int=number), 12) for number in range(2_400)]
    assert set(cohorts) == set(range(1, 13))
    assert all(150 < cohorts.count(cohort) < 250 for cohort in range(1, 13))
    assert home_cohort(uuid.UUID(int=7), 12) == home_cohort(uuid.UUID(int=7), 12)


def test_the_number_of_cohorts_is_the_one_of_the_first_migration(db, settings):
    settings.OUTGATE_ROLLOUT_COHORTS = 3
    assert cohort_count() == 12


def test_an_account_gets_the_cohort_of_its_id(owner):
    assert owner.cohort == home_cohort(owner.id, 12)


def test_an_address_belongs_to_one_account_only(owner, colleague):
    people.add_alias(actor=SYSTEM, user=colleague, address="office@yourdomain.com")
    for address in ("USER@yourdomain.com", "office@yourdomain.com"):
        with pytest.raises(ValidationError, match="belongs to an account already"):
            people.add_alias(actor=SYSTEM, user=owner, address=address)


def test_an_alias_lies_inside_the_own_domains(owner):
    with pytest.raises(ValidationError, match="outside the organisation"):
        people.add_alias(actor=SYSTEM, user=owner, address="user@partnerdomain.com")


def test_alias_domains_give_every_address_a_twin(owner):
    primary = Domain.objects.get()
    create_domain(actor=SYSTEM, name="yourdomain.net", kind="alias", alias_of=primary)
    people.add_alias(actor=SYSTEM, user=owner, address="yuki@yourdomain.com")
    assert people.own_addresses(owner) == [
        "user@yourdomain.com",
        "yuki@yourdomain.com",
        "user@yourdomain.net",
        "yuki@yourdomain.net",
    ]


def test_an_address_at_an_alias_domain_is_its_owners_already(owner, colleague):
    create_domain(actor=SYSTEM, name="yourdomain.net", kind="alias", alias_of=Domain.objects.get())
    with pytest.raises(ValidationError, match="belongs to an account already"):
        people.add_alias(actor=SYSTEM, user=colleague, address="user@yourdomain.net")


def test_a_domain_with_accounts_can_not_become_an_alias(owner):
    other = create_domain(actor=SYSTEM, name="second.example")
    people.add_alias(actor=SYSTEM, user=owner, address="yuki@second.example")
    primary = Domain.objects.get(kind="primary")
    Domain.objects.filter(pk=other.pk).delete()
    with pytest.raises(ValidationError, match="Move them first"):
        create_domain(actor=SYSTEM, name="second.example", kind="alias", alias_of=primary)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditevent SET name = ''",
        "DELETE FROM accounts_auditevent",
        "TRUNCATE accounts_auditevent",
    ],
)
def test_the_application_can_neither_change_nor_delete_audit_events(owner, statement):
    assert AuditEvent.objects.exists()
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_suspending_twice_is_told_once(owner):
    people.suspend_user(actor=SYSTEM, user=owner)
    people.suspend_user(actor=SYSTEM, user=owner)
    assert AuditEvent.objects.filter(name="account_suspended").count() == 1


def test_a_role_to_administer_is_worth_nothing_outside_the_own_domains(client, organisation):
    """Such as after the domain went: the row alone opens neither the console nor /support/."""
    guest = people.create_user(
        actor=SYSTEM,
        primary_address="guest@elsewhere.example",
        name="Guest",
        unit=organisation.sales,
    )
    RoleAssignment.objects.create(user=guest, role="super_admin")
    RoleAssignment.objects.create(
        user=guest, role="unit_admin", unit=organisation.sales, privileges=["users"]
    )
    assert [guest.is_super_admin, guest.is_admin, guest.is_staff] == [False] * 3
    client.force_login(guest)
    assert client.get("/").url == "/settings/"
    assert client.get("/console/").status_code == 404
    assert client.get("/support/").status_code == 302


def test_support_may_be_done_from_outside(client, organisation):
    guest = people.create_user(
        actor=SYSTEM,
        primary_address="guest@elsewhere.example",
        name="Guest",
        unit=organisation.sales,
    )
    assign_role(actor=SYSTEM, user=guest, role="support")
    client.force_login(guest)
    assert client.get("/support/").status_code == 200

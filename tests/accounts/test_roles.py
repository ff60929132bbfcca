import threading

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, connection, transaction

from accounts.models import AuditEvent, Domain, RoleAssignment
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import create_user, suspend_user
from accounts.services.roles import assign_role, change_privileges, remove_role


def last_event() -> tuple:
    event = AuditEvent.objects.latest("id")
    return event.name, event.target, event.details.get("old"), event.details.get("new")


def test_only_an_account_inside_the_own_domains_can_be_an_administrator(organisation):
    guest = create_user(
        actor=SYSTEM, primary_address="guest@elsewhere.example", name="G", unit=organisation.root
    )
    with pytest.raises(ValidationError, match="outside the organisation"):
        assign_role(actor=SYSTEM, user=guest, role="super_admin")
    with pytest.raises(ValidationError, match="outside the organisation"):
        assign_role(
            actor=SYSTEM,
            user=guest,
            role="unit_admin",
            unit=organisation.sales,
            privileges=["reports"],
        )
    assign_role(actor=SYSTEM, user=guest, role="support")


def test_giving_changing_and_taking_a_role_stands_in_the_audit(super_admin, owner, organisation):
    actor = Actor(super_admin, "192.0.2.7")
    given = assign_role(
        actor=actor,
        user=owner,
        role="unit_admin",
        unit=organisation.sales,
        privileges=["reports", "mail_settings"],
    )
    address = owner.primary_address
    assert last_event() == (
        "role_assigned",
        address,
        None,
        "unit_admin: mail_settings, reports",
    )
    change_privileges(actor=actor, assignment=given, privileges=["users"])
    assert last_event() == (
        "role_changed",
        address,
        "unit_admin: mail_settings, reports",
        "unit_admin: users",
    )
    given.refresh_from_db()
    remove_role(actor=actor, assignment=given)
    assert last_event() == ("role_removed", address, "unit_admin: users", None)
    assert AuditEvent.objects.latest("id").client_ip == "192.0.2.7"


def test_changing_nothing_and_taking_twice_is_not_told(unit_admin):
    given = unit_admin.roles.get()
    events = AuditEvent.objects.count()
    change_privileges(actor=SYSTEM, assignment=given, privileges=["mail_settings"])
    assert AuditEvent.objects.count() == events
    remove_role(actor=SYSTEM, assignment=unit_admin.roles.get())
    remove_role(actor=SYSTEM, assignment=given)
    assert AuditEvent.objects.count() == events + 1


def test_a_role_is_given_once(super_admin, unit_admin, organisation):
    with pytest.raises(ValidationError, match="has this role already"):
        assign_role(actor=SYSTEM, user=super_admin, role="super_admin")
    with pytest.raises(ValidationError, match="has this role already"):
        assign_role(
            actor=SYSTEM,
            user=unit_admin,
            role="unit_admin",
            unit=organisation.sales,
            privileges=["users"],
        )


@pytest.mark.parametrize(
    ("role", "unit", "privileges"),
    [
        ("unit_admin", True, []),
        ("unit_admin", False, ["users"]),
        ("unit_admin", True, ["mail"]),
        ("super_admin", True, []),
        ("support", False, ["users"]),
        ("owner", False, []),
    ],
)
def test_a_role_without_its_parts_is_none(owner, organisation, role, unit, privileges):
    unit = organisation.sales if unit else None
    with pytest.raises(ValidationError):
        assign_role(actor=SYSTEM, user=owner, role=role, unit=unit, privileges=privileges)
    assert not owner.roles.exists()


def test_the_database_holds_that_too(owner, organisation):
    with pytest.raises(IntegrityError), transaction.atomic():
        RoleAssignment.objects.create(user=owner, role="unit_admin", unit=organisation.sales)
    with pytest.raises(IntegrityError), transaction.atomic():
        RoleAssignment.objects.create(user=owner, role="support", privileges=["users"])


def test_a_unit_administrator_keeps_at_least_one_privilege(unit_admin):
    with pytest.raises(ValidationError):
        change_privileges(actor=SYSTEM, assignment=unit_admin.roles.get(), privileges=[])
    assert unit_admin.roles.get().privileges == ["mail_settings"]


def test_the_last_super_administrator_stays_one(super_admin, owner):
    for end in (
        lambda: remove_role(actor=SYSTEM, assignment=super_admin.roles.get()),
        lambda: suspend_user(actor=SYSTEM, user=super_admin),
    ):
        with pytest.raises(ValidationError, match="last super administrator"):
            end()
    assign_role(actor=SYSTEM, user=owner, role="super_admin")
    remove_role(actor=Actor(owner), assignment=super_admin.roles.get())
    with pytest.raises(ValidationError, match="last super administrator"):
        suspend_user(actor=SYSTEM, user=owner)


def test_one_who_cannot_act_does_not_count_as_another(super_admin, owner, colleague):
    for user in (owner, colleague):
        assign_role(actor=SYSTEM, user=user, role="super_admin")
    suspend_user(actor=SYSTEM, user=owner)
    Domain.objects.create(name="second.example", kind="secondary")
    type(colleague).objects.filter(pk=colleague.pk).update(primary_address="c@elsewhere.example")
    with pytest.raises(ValidationError, match="last super administrator"):
        remove_role(actor=SYSTEM, assignment=super_admin.roles.get())
    remove_role(actor=SYSTEM, assignment=owner.roles.get())


@pytest.mark.django_db(transaction=True)
def test_two_super_administrators_who_remove_each_other_do_not_both_succeed(super_admin, owner):
    assign_role(actor=SYSTEM, user=owner, role="super_admin")
    refused = []

    def remove(actor, assignment):
        try:
            remove_role(actor=Actor(actor), assignment=assignment)
        except (PermissionDenied, ValidationError) as error:
            refused.append(type(error))
        connection.close()

    pairs = [(super_admin, owner.roles.get()), (owner, super_admin.roles.get())]
    threads = [threading.Thread(target=remove, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert RoleAssignment.objects.filter(role="super_admin").count() == 1

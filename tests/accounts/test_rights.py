import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import Domain, Privilege, RoleAssignment, User
from accounts.services import directory, people
from accounts.services.app_passwords import create_app_password, revoke_app_password
from accounts.services.audit import SYSTEM, Actor
from accounts.services.rights import administers, rights_of
from accounts.services.roles import assign_role, change_privileges, remove_role
from tests.conftest import Organisation

MAIL, USERS, REPORTS = Privilege.MAIL_SETTINGS, Privilege.USERS, Privilege.REPORTS


def test_a_super_administrator_has_everything_from_the_root_on(super_admin, organisation):
    rights = rights_of(super_admin)
    assert rights.is_super
    assert rights.paths() == rights.paths(USERS) == [organisation.root.path]


def test_a_unit_administrator_has_the_topmost_units_only(unit_admin, organisation):
    for unit in (organisation.partner_desk, organisation.support_unit):
        assign_role(actor=SYSTEM, user=unit_admin, role="unit_admin", unit=unit, privileges=[MAIL])
    expected = [organisation.sales.path, organisation.support_unit.path]
    assert rights_of(unit_admin).paths(MAIL) == rights_of(unit_admin).paths() == expected


@pytest.mark.parametrize("privilege", Privilege.values)
@pytest.mark.parametrize(
    ("name", "reached"),
    [("root", False), ("support_unit", False), ("sales", True), ("partner_desk", True)],
)
def test_a_privilege_holds_at_and_below_its_unit_neither_beside_nor_above(
    owner, organisation, privilege, name, reached
):
    assign_role(
        actor=SYSTEM, user=owner, role="unit_admin", unit=organisation.sales, privileges=[privilege]
    )
    unit = getattr(organisation, name)
    assert administers(owner, unit, Privilege(privilege)) == reached
    for other in set(Privilege) - {privilege}:
        assert not administers(owner, unit, other)


def test_privileges_of_two_units_do_not_mix(unit_admin, organisation):
    assign_role(
        actor=SYSTEM,
        user=unit_admin,
        role="unit_admin",
        unit=organisation.support_unit,
        privileges=[REPORTS],
    )
    assert not administers(unit_admin, organisation.sales, REPORTS)
    assert not administers(unit_admin, organisation.support_unit, MAIL)


def test_support_people_without_a_role_and_the_suspended_have_none(support, owner, unit_admin):
    people.suspend_user(actor=SYSTEM, user=unit_admin)
    for user in (support, owner, unit_admin):
        assert rights_of(user).paths() == []


def test_an_administrator_outside_the_own_domains_has_none(super_admin, unit_admin):
    Domain.objects.all().delete()
    for user in (super_admin, unit_admin):
        assert rights_of(user).paths() == []
        assert not rights_of(user).is_super


def test_a_role_taken_meanwhile_no_longer_counts(unit_admin, organisation):
    assert unit_admin.is_admin
    remove_role(actor=SYSTEM, assignment=unit_admin.roles.get())
    assert not administers(unit_admin, organisation.sales, MAIL)


ROLES = ["owner", "support", "unit_admin", "reports_admin"]


def calls(actor: Actor, owner: User, organisation: Organisation) -> list:
    """One call of each service that changes accounts of Sales and below."""
    alias = people.add_alias(actor=SYSTEM, user=owner, address="yuki@yourdomain.com")
    return [
        lambda: people.create_user(
            actor=actor,
            primary_address="new@yourdomain.com",
            name="New",
            unit=organisation.sales,
        ),
        lambda: people.rename_user(actor=actor, user=owner, name="Yuki Sato"),
        lambda: people.move_user(actor=actor, user=owner, unit=organisation.sales),
        lambda: people.add_alias(actor=actor, user=owner, address="tanaka@yourdomain.com"),
        lambda: people.remove_alias(actor=actor, alias=alias),
        lambda: people.suspend_user(actor=actor, user=owner),
        lambda: people.restore_user(actor=actor, user=owner),
    ]


@pytest.mark.parametrize("role", ROLES)
def test_without_the_privilege_users_no_account_is_changed(role, owner, organisation, request):
    actor = Actor(request.getfixturevalue(role))
    for call in calls(actor, owner, organisation):
        with pytest.raises(PermissionDenied):
            call()


@pytest.mark.parametrize("role", ["users_admin", "super_admin"])
def test_with_it_accounts_of_the_unit_and_below_are(role, owner, organisation, request):
    actor = Actor(request.getfixturevalue(role))
    for call in calls(actor, owner, organisation):
        call()


def test_accounts_and_units_beside_and_above_are_out_of_reach(
    users_admin, owner, stranger, organisation
):
    actor = Actor(users_admin)
    for unit in (organisation.root, organisation.support_unit):
        with pytest.raises(PermissionDenied):
            people.move_user(actor=actor, user=owner, unit=unit)
        with pytest.raises(PermissionDenied):
            people.create_user(actor=actor, primary_address="n@yourdomain.com", name="N", unit=unit)
    for change in (people.suspend_user, people.restore_user):
        with pytest.raises(PermissionDenied):
            change(actor=actor, user=stranger)
    with pytest.raises(PermissionDenied):
        people.move_user(actor=actor, user=stranger, unit=organisation.sales)


def test_who_has_a_role_is_left_to_super_administrators(users_admin, organisation, super_admin):
    """Else an administrator of a unit could shut out, or take over, one who stands above."""
    people.move_user(actor=SYSTEM, user=super_admin, unit=organisation.sales)
    for change in (people.suspend_user, people.restore_user):
        with pytest.raises(PermissionDenied):
            change(actor=Actor(users_admin), user=super_admin)
    with pytest.raises(PermissionDenied):
        people.add_alias(actor=Actor(users_admin), user=super_admin, address="x@yourdomain.com")


@pytest.mark.parametrize("role", [*ROLES, "users_admin"])
def test_roles_units_and_domains_are_for_super_administrators(
    role, request, stranger, organisation, unit_admin
):
    actor = Actor(request.getfixturevalue(role))
    given = unit_admin.roles.get()
    for call in (
        lambda: assign_role(actor=actor, user=actor.user, role="super_admin"),
        lambda: assign_role(actor=actor, user=stranger, role="support"),
        lambda: change_privileges(actor=actor, assignment=given, privileges=Privilege.values),
        lambda: remove_role(actor=actor, assignment=given),
        lambda: directory.create_unit(actor=actor, name="U", parent=organisation.sales),
        lambda: directory.rename_unit(actor=actor, unit=organisation.sales, name="U"),
        lambda: directory.move_unit(
            actor=actor, unit=organisation.partner_desk, parent=organisation.root
        ),
        lambda: directory.delete_unit(actor=actor, unit=organisation.partner_desk),
        lambda: directory.create_domain(actor=actor, name="second.example"),
    ):
        with pytest.raises(PermissionDenied):
            call()
    assert RoleAssignment.objects.get(pk=given.pk).privileges == ["mail_settings"]


@pytest.mark.parametrize("role", ["support", "unit_admin", "users_admin", "super_admin"])
def test_an_app_password_is_made_by_its_owner_alone(role, owner, request):
    with pytest.raises(PermissionDenied):
        create_app_password(actor=Actor(request.getfixturevalue(role)), user=owner, name="Phone")


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("owner", True),
        ("support", True),
        ("users_admin", True),
        ("super_admin", True),
        ("stranger", False),
        ("unit_admin", False),
        ("reports_admin", False),
    ],
)
def test_an_app_password_is_revoked_by_who_protects_the_account(role, may, owner, request):
    app_password, _secret = create_app_password(actor=Actor(owner), user=owner, name="Phone")
    actor = Actor(request.getfixturevalue(role))
    if not may:
        with pytest.raises(PermissionDenied):
            revoke_app_password(actor=actor, app_password=app_password)
    else:
        revoke_app_password(actor=actor, app_password=app_password)
    app_password.refresh_from_db()
    assert bool(app_password.revoked_at) == may

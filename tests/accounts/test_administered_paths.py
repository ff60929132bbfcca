from accounts.models import Domain, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.people import administered_paths, administers, assign_role, suspend_user
from tests.conftest import Organisation


def test_a_super_administrator_has_the_root(super_admin: User, organisation: Organisation) -> None:
    assert administered_paths(super_admin) == [organisation.root.path]


def test_a_unit_administrator_has_the_topmost_units_only(
    unit_admin: User, organisation: Organisation
) -> None:
    for unit in (organisation.partner_desk, organisation.support_unit):
        assign_role(actor=SYSTEM, user=unit_admin, role=RoleAssignment.Role.UNIT_ADMIN, unit=unit)
    expected = [organisation.sales.path, organisation.support_unit.path]
    assert administered_paths(unit_admin) == expected
    assert administers(unit_admin, organisation.partner_desk)
    assert not administers(unit_admin, organisation.root)


def test_support_and_people_without_a_role_have_none(support: User, owner: User) -> None:
    assert administered_paths(support) == []
    assert administered_paths(owner) == []


def test_a_suspended_administrator_has_none(super_admin: User) -> None:
    suspend_user(actor=SYSTEM, user=super_admin)
    super_admin.refresh_from_db()
    assert administered_paths(super_admin) == []


def test_an_administrator_whose_domain_is_no_longer_the_organisations_has_none(
    super_admin: User,
) -> None:
    Domain.objects.all().delete()
    assert administered_paths(super_admin) == []

"""The named cast, and the database of the tests: migrated by the owner, used by the application."""

from dataclasses import dataclass

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoDbBlocker

import config.celery  # noqa: F401  (for tasks that enqueue others)
from accounts.models import Domain, OrgUnit, Privilege, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain, create_unit
from accounts.services.people import create_user
from accounts.services.roles import assign_role
from config.embedded import Engines
from tests.second_factors import SecondFactorClient


@pytest.fixture(scope="session")
def django_db_setup(services: Engines, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def fast_password_hasher(settings) -> None:
    """Web passwords are Django's business; its real hasher would take most of the suite's time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def client() -> Client:
    """Whoever has a role and is signed in by `force_login` has used a second factor too."""
    return SecondFactorClient()


PASSWORD = "correct horse battery staple"


@dataclass
class Organisation:
    """yourdomain.com > Sales > Partner desk, and Support beside Sales."""

    root: OrgUnit
    sales: OrgUnit
    partner_desk: OrgUnit
    support_unit: OrgUnit


@pytest.fixture
def organisation(db: None) -> Organisation:
    create_domain(actor=SYSTEM, name="yourdomain.com", kind=Domain.Kind.PRIMARY)
    root = create_unit(actor=SYSTEM, name="yourdomain.com")
    sales = create_unit(actor=SYSTEM, name="Sales", parent=root)
    desk = create_unit(actor=SYSTEM, name="Partner desk", parent=sales)
    support = create_unit(actor=SYSTEM, name="Support", parent=root)
    return Organisation(root, sales, desk, support)


def _person(local: str, name: str, unit: OrgUnit) -> User:
    return create_user(
        actor=SYSTEM,
        primary_address=f"{local}@yourdomain.com",
        name=name,
        unit=unit,
        password=PASSWORD,
    )


@pytest.fixture
def owner(organisation: Organisation) -> User:
    """The account that most tests are about, in Partner desk."""
    return _person("user", "Yuki Tanaka", organisation.partner_desk)


@pytest.fixture
def colleague(organisation: Organisation) -> User:
    """In the same unit as the owner."""
    return _person("colleague", "Jonas Berg", organisation.partner_desk)


@pytest.fixture
def stranger(organisation: Organisation) -> User:
    """In another branch of the tree."""
    return _person("stranger", "Ada Moor", organisation.support_unit)


@pytest.fixture
def super_admin(organisation: Organisation) -> User:
    user = _person("admin", "Mina Kato", organisation.root)
    assign_role(actor=SYSTEM, user=user, role=RoleAssignment.Role.SUPER_ADMIN)
    return user


def _delegated(user: User, unit: OrgUnit, privilege: Privilege) -> User:
    role = RoleAssignment.Role.UNIT_ADMIN
    assign_role(actor=SYSTEM, user=user, role=role, unit=unit, privileges=[privilege])
    return user


@pytest.fixture
def unit_admin(organisation: Organisation) -> User:
    """Administers the mail settings of Sales and below."""
    user = _person("sales-admin", "Emre Aydin", organisation.sales)
    return _delegated(user, organisation.sales, Privilege.MAIL_SETTINGS)


@pytest.fixture
def users_admin(organisation: Organisation) -> User:
    """Administers the accounts of Sales and below."""
    user = _person("sales-users", "Noor Haddad", organisation.sales)
    return _delegated(user, organisation.sales, Privilege.USERS)


@pytest.fixture
def reports_admin(organisation: Organisation) -> User:
    """Reads the audit of Sales and below."""
    user = _person("sales-reports", "Pia Lind", organisation.sales)
    return _delegated(user, organisation.sales, Privilege.REPORTS)


@pytest.fixture
def support(organisation: Organisation) -> User:
    user = _person("support", "Sam Oduya", organisation.support_unit)
    assign_role(actor=SYSTEM, user=user, role=RoleAssignment.Role.SUPPORT)
    return user

"""A database as the first version left it, with rows in it, is migrated and goes on working."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F, Sum
from django.db.models.functions import Now

from accounts.models import AccountCount, AuditEvent, OrgUnit, Privilege, RoleAssignment, User
from accounts.owner import owner_role
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import create_user, move_user
from accounts.services.sign_ins import sign_in
from delivery.explain import explain
from delivery.link import Link
from delivery.models import Delivery, RuleChange
from delivery.routing import RouteKind, Rule, decide
from delivery.services import load_account, load_settings
from delivery.snapshot import load_snapshot
from policies.models import PolicyChange, Setting
from policies.services import change_policy
from sendas.credentials import key_ring
from sendas.models import MailDomain, SendAs, SmtpMsa
from sendas.services.addresses import gateway_password

APPS = ("accounts", "policies", "sendas", "delivery")
DATABASE = "outgate_upgraded"
PRIMARY, PARTNER = "user@yourdomain.com", "user.name@partnerdomain.com"
APP_PASSWORD = "aaaaa-bbbbb-ccccc-ddddd"
DIGEST = bytes.fromhex("2fa0bc985a23ad15b3fa258884e19da652fd57434a5c44a8374236af2ce6ce70")
LONG_AGO = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
# What the first version wrote for PARTNER's row, under a key of 32 zero octets.
KEY = "first:" + base64.b64encode(bytes(32)).decode()
OLD_PASSWORD = "an old password"
CIPHERTEXT = bytes.fromhex(
    "000102030405060708090a0be9a5133d6c99af89a30b21929271bae64f0522e5db0ea71633b0b9a0803f37"
)
ON, OFF = {"allowed": True}, {"allowed": False}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def empty_database(services, django_db_setup, django_db_blocker) -> Iterator[None]:
    """Beside the one of the other tests, which stays as it is; Django's connection leads here."""
    root = psycopg.connect(
        host=str(services.sockets), user="postgres", dbname="postgres", autocommit=True
    )
    usual = connection.settings_dict["NAME"]
    with contextlib.closing(root), django_db_blocker.unblock():
        root.execute(f"CREATE DATABASE {DATABASE} OWNER outgate_owner")
        connection.close()
        connection.settings_dict["NAME"] = DATABASE
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = usual
            root.execute(f"DROP DATABASE {DATABASE}")


@pytest.fixture(scope="module")
def upgraded(empty_database) -> None:
    """The first migration of each app, rows, all the others."""
    with owner_role():
        executor = MigrationExecutor(connection)
        first = [(app, "0001_initial") for app in APPS]
        # What the tables of the first version refer to is Django's own.
        first += [node for node in executor.loader.graph.leaf_nodes() if node[0] not in APPS]
        executor.migrate(first)
        with transaction.atomic():
            fill(executor.loader.project_state(first).apps)
    call_command("migrate", verbosity=0)


@pytest.fixture
def inside(upgraded, django_db_blocker) -> Iterator[None]:
    """Whatever a test writes, the next one finds the database as it was upgraded."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


def fill(apps: Any) -> None:
    """An organisation as the first version kept it."""

    def make(model: str, /, **fields: Any) -> Any:
        return apps.get_model(model).objects.create(**fields)

    make("accounts.Domain", name="yourdomain.com", kind="primary")
    root = make("accounts.OrgUnit", path="0001", depth=1, numchild=1, name="yourdomain.com")
    sales = make("accounts.OrgUnit", path="00010001", depth=2, name="Sales")
    people = [
        make("accounts.User", primary_address=address, name="Yuki", cohort=cohort, unit=unit)
        for address, cohort, unit in (
            (PRIMARY, 3, sales), ("colleague@yourdomain.com", 3, sales),
            ("sales-admin@yourdomain.com", 5, sales), ("admin@yourdomain.com", 5, root),
        )
    ]  # fmt: skip
    make("accounts.RoleAssignment", user=people[2], role="unit_admin", unit=sales)
    make("accounts.RoleAssignment", user=people[3], role="super_admin")
    make("accounts.AppPassword", user=people[0], name="Laptop", digest=DIGEST)
    make("accounts.AuditEvent", name="unit_created", target="yourdomain.com › Sales",
         details={"unit_id": sales.pk})  # fmt: skip
    make("accounts.AuditEvent", name="account_suspended", target=PRIMARY)
    fill_policy(make, sales)
    fill_addresses(make, people)
    delivery = make(
        "delivery.Delivery", account=people[0], account_address=PRIMARY, from_address=PARTNER,
        state="delivered", route="gateway", server="smtp.partnerdomain.com:587",
        envelope_sender=PARTNER, explanation={
            "rule": "gateway", "gateways_allowed": True, "deciding_unit": "Sales", "version": 1,
            "unit": "yourdomain.com › Sales", "cohort": 3,
        },
    )  # fmt: skip
    make("delivery.DeliveryRecipient", delivery=delivery, address="claire@customer.example")


def fill_policy(make: Any, unit: Any) -> None:
    """Own servers are on for the unit, which one cohort has heard of and another has not."""
    make("policies.GatewayPolicy", unit=unit, setting="per_user_outbound_gateway", value=ON,
         version=1)  # fmt: skip
    change = make(
        "policies.PolicyChange", unit_id=unit.pk, unit_path="yourdomain.com › Sales",
        setting="per_user_outbound_gateway", new=ON, version=1, starts_at=LONG_AGO,
        complete_by=LONG_AGO, actor_address="admin@yourdomain.com",
    )  # fmt: skip
    make("policies.RolloutWave", change=change, cohort=3, due_at=LONG_AGO, applied_at=LONG_AGO)
    make("policies.RolloutWave", change=change, cohort=5, due_at=LONG_AGO)
    make("policies.AppliedPolicy", cohort=3, unit=unit, setting="per_user_outbound_gateway",
         value=ON, version=1)  # fmt: skip


def fill_addresses(make: Any, people: list[Any]) -> None:
    """With a server of its own; proved at a known time; waiting; an own alias."""
    rows = [
        make("sendas.SendAs", user=user, send_as_email=address, verification_status=status,
             verified_at=verified)
        for user, address, status, verified in (
            (people[0], PARTNER, "accepted", None),
            (people[0], "user@elsewhere.example", "accepted", LONG_AGO),
            (people[1], PARTNER, "pending", None),
            (people[1], "alias@yourdomain.com", "", None),
        )
    ]  # fmt: skip
    assert rows[0].pk == 1, "The stored password is bound to this number."
    make("sendas.SmtpMsa", send_as=rows[0], host="smtp.partnerdomain.com", port=587,
         security_mode="starttls", username="user.name", key_id="first",
         ciphertext=CIPHERTEXT)  # fmt: skip


def account(address: str = PRIMARY) -> User:
    return User.objects.get(primary_address=address)


def test_no_migration_is_left_and_the_application_has_its_rights(inside):
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    for model in (User, SendAs, SmtpMsa, Delivery, PolicyChange):
        assert model.objects.update(id=F("id")) > 0
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        AuditEvent.objects.update(name="")


def test_administrators_of_a_unit_keep_what_they_could_do(inside):
    roles = RoleAssignment.objects.values_list("role", "privileges")
    assert dict(roles) == {"unit_admin": [Privilege.MAIL_SETTINGS], "super_admin": []}


def test_events_belong_to_the_unit_that_they_named(inside):
    sales = OrgUnit.objects.get(name="Sales")
    events = AuditEvent.objects.order_by("id").values_list("unit_id", "unit_path")
    assert list(events) == [(sales.pk, "yourdomain.com › Sales"), (None, "")]


def counted() -> dict[tuple[str, int], int]:
    counts = AccountCount.objects.exclude(accounts=0)
    return {(row.unit.name, row.cohort): row.accounts for row in counts.select_related("unit")}


def test_accounts_are_counted_and_go_on_being_counted(inside):
    assert counted() == {("Sales", 3): 2, ("Sales", 5): 1, ("yourdomain.com", 5): 1}
    move_user(actor=SYSTEM, user=account(), unit=OrgUnit.objects.get(name="yourdomain.com"))
    assert counted()["yourdomain.com", 3] == counted()["Sales", 3] == 1
    create_user(actor=SYSTEM, primary_address="new@yourdomain.com", name="New",
                unit=OrgUnit.objects.get(name="Sales"))  # fmt: skip
    assert sum(counted().values()) == 5


def test_domains_of_outside_addresses_are_asked_once_each(inside):
    assert set(MailDomain.objects.values_list("name", "policy", "answered_at")) == {
        ("partnerdomain.com", "", None), ("elsewhere.example", "", None)
    }  # fmt: skip
    assert MailDomain.objects.filter(due_at__lte=Now()).count() == 2


def test_the_age_of_a_proof_counts_from_what_is_known(inside):
    for row in SendAs.objects.all():
        known = row.created_at if row.send_as_email == PARTNER else LONG_AGO
        assert row.verified_at == (known if row.is_accepted else None)
        assert (row.asked_at, row.suspended_at, row.signature) == (None, None, "")


def test_a_stored_password_still_opens_the_way_through_its_server(inside, settings):
    settings.OUTGATE_CREDENTIAL_KEYS = [KEY]
    key_ring.cache_clear()
    msa = SmtpMsa.objects.get()
    assert gateway_password(msa) == OLD_PASSWORD
    key_ring.cache_clear()
    assert msa.works
    assert (msa.refused_at, msa.claimed_until, msa.wiped_at, msa.approval) == (None, None, None, "")
    assert SmtpMsa.objects.to_check().get() == msa
    answer = decide(load_account(account()), PARTNER, load_settings(account()))
    assert (answer.kind, answer.credential_id) == (RouteKind.GATEWAY, msa.credential_id)
    assert (answer.explanation.rule, answer.explanation.version) == (Rule.GATEWAY, 1)


def test_mail_reads_the_account_as_the_pages_do(inside):
    user = account()
    app_password = user.app_passwords.get()

    async def load() -> Any:
        link = Link()
        try:
            return await load_snapshot(link, app_password.pk)
        finally:
            await link.close()

    snapshot = asyncio.run(load())
    assert (snapshot.account, snapshot.settings) == (load_account(user), load_settings(user))


def test_an_app_password_still_signs_in_and_recipients_are_counted(inside):
    answer = sign_in(username=PRIMARY, secret=APP_PASSWORD, peer="192.0.2.1")
    assert answer.app_password == account().app_passwords.get()
    with connection.cursor() as cursor:
        cursor.execute("SELECT taken_in FROM take_recipients(%s, 2, 2, 2)", [account().pk])
        assert cursor.fetchone()[0]


def test_the_delivery_log_still_tells_why(inside):
    delivery = Delivery.objects.get()
    assert (delivery.times, delivery.outbox_message) == ({}, None)
    assert explain(delivery.explanation) == (
        "Gateways are on for Sales, and the address has its own server."
    )
    assert [row.address for row in delivery.recipients.all()] == ["claire@customer.example"]


@pytest.mark.parametrize(
    "change",
    [
        lambda: SendAs.objects.update(suspended_at=None),
        lambda: SmtpMsa.objects.update(wiped_at=None),
        lambda: SmtpMsa.objects.update(approval="waiting"),
        lambda: User.objects.update(suspended=True),
    ],
    ids=["address suspended", "password wiped", "approval", "account suspended"],
)
def test_a_change_of_what_was_there_before_ends_decisions_in_memory(inside, change):
    def total() -> int:
        return RuleChange.objects.aggregate(total=Sum("amount"))["total"] or 0

    before = total()
    change()
    assert total() == before + 1


def test_a_policy_goes_on_with_its_next_version(inside):
    sales = OrgUnit.objects.get(name="Sales")
    [old] = PolicyChange.objects.all()
    assert [bool(wave.applied_at) for wave in old.waves.order_by("cohort")] == [True, False]
    assert (old.cancelled_at, old.undoes) == (None, None)
    administrator = Actor(account("sales-admin@yourdomain.com"))
    change = change_policy(
        actor=administrator,
        unit=sales,
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value=OFF,
        based_on=1,
    )
    assert change.version == 2
    assert old.waves.filter(superseded_at=None, applied_at=None).count() == 0

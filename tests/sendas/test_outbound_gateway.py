"""The organisation's outbound gateway of a unit: tested, kept encrypted, and undone."""

import json
from uuid import UUID

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from accounts.models import AuditEvent
from accounts.services.audit import Actor
from policies.models import GatewayPolicy, PolicyChange, Setting
from policies.services import StalePolicyError, undo
from sendas import upstream
from sendas.credentials import CredentialError
from sendas.models import ConnectionTest, SmartHostCredential
from sendas.services.connection import TESTS_PER_HOUR
from sendas.services.outbound_gateway import (
    SmartHost,
    change_outbound_gateway,
    smart_host_sign_in,
)
from sendas.services.outcomes import ConnectionTestError
from sendas.services.rotation import rotate_credentials
from smtp.target import Credential
from tests.sendas.conftest import CANARY, PARTNER

GATEWAY = SmartHost("localhost", 0, "starttls", PARTNER, CANARY)


@pytest.fixture
def relay(partner) -> SmartHost:
    """A server that lets us sign in and takes mail from anybody."""
    return GATEWAY._replace(port=partner.port)


def change(admin, unit, smart_host, based_on=0, **options):
    return change_outbound_gateway(
        actor=Actor(admin), unit=unit, smart_host=smart_host, based_on=based_on, **options
    )


def own(unit):
    return GatewayPolicy.objects.get(unit=unit, setting=Setting.OUTBOUND_GATEWAY).value


def test_it_is_tried_out_and_kept_without_its_password(
    unit_admin, organisation, partner, relay, caplog
):
    change(unit_admin, organisation.sales, relay, reason="The archive")
    server = own(organisation.sales)["server"]
    assert (server["host"], server["port"]) == ("localhost", partner.port)
    assert smart_host_sign_in(UUID(server["credential_id"])) == Credential(PARTNER, CANARY)
    assert partner.tried == [CANARY]
    assert partner.senders == [unit_admin.primary_address]
    kept = json.dumps([list(PolicyChange.objects.values("old", "new")),
                       list(AuditEvent.objects.values("details"))])  # fmt: skip
    assert CANARY not in kept
    assert CANARY.encode() not in bytes(SmartHostCredential.objects.get().ciphertext)
    assert CANARY not in caplog.text
    assert CANARY not in repr(relay)


def test_the_stored_password_stays_with_its_server_and_user_name(
    unit_admin, organisation, partner, relay
):
    change(unit_admin, organisation.sales, relay)
    again = relay._replace(password="")
    assert change(unit_admin, organisation.sales, again, 1) is None
    assert partner.tried == [CANARY, CANARY]
    for other in (
        again._replace(host="127.0.0.1"),
        again._replace(username="other"),
        again._replace(security_mode="ssl"),
    ):
        with pytest.raises(ValidationError, match="the stored one belongs to another server"):
            change(unit_admin, organisation.sales, other, 1)
    assert partner.tried == [CANARY, CANARY]


def test_an_undo_brings_the_former_server_back_with_its_password(unit_admin, organisation, relay):
    change(unit_admin, organisation.sales, relay)
    first = own(organisation.sales)
    second = change(unit_admin, organisation.sales, None, 1)
    assert own(organisation.sales) == {"server": None}
    undo(actor=Actor(unit_admin), change=second, based_on=0)
    assert own(organisation.sales) == first
    credential_id = UUID(first["server"]["credential_id"])
    assert smart_host_sign_in(credential_id).password == CANARY


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"password": "wrong"}, "password", "does not accept this user name and password"),
        ({"port": 1}, "host", "No mail server answers like that at localhost, port 1."),
        ({"security_mode": "ssl"}, "host", "No mail server answers like that"),
        ({"host": "nothing.invalid"}, "host", "nothing.invalid has no address that may be used"),
        ({"host": "10.0.0.1"}, "host", "10.0.0.1 has no address that may be used"),
    ],
)
def test_one_that_cannot_be_used_is_told_and_nothing_is_kept(
    unit_admin, organisation, relay, changes, field, words
):
    with pytest.raises(ConnectionTestError) as refused:
        change(unit_admin, organisation.sales, relay._replace(**changes))
    assert refused.value.field == field
    assert words in refused.value.text
    assert not PolicyChange.objects.exists()
    assert not SmartHostCredential.objects.exists()


def test_a_server_that_takes_no_mail_is_told_in_its_words(unit_admin, organisation, partner, relay):
    partner.refused_senders[unit_admin.primary_address] = "550 5.7.1 Relaying denied"
    with pytest.raises(ConnectionTestError, match="takes no mail from sales-admin") as refused:
        change(unit_admin, organisation.sales, relay)
    assert refused.value.reply == "550 5.7.1 Relaying denied"


def test_outgate_itself_would_send_in_a_circle(unit_admin, organisation, relay, settings):
    settings.OUTGATE_SUBMISSION_HOST = "127.0.0.1"
    settings.OUTGATE_SUBMISSION_PORT = relay.port
    with pytest.raises(ConnectionTestError, match="in a circle"):
        change(unit_admin, organisation.sales, relay)


def test_networks_inside_are_opened_by_the_operator_alone(
    unit_admin, organisation, relay, settings
):
    settings.OUTGATE_SMART_HOST_NETWORKS = ()
    upstream.smart_host_guard.cache_clear()
    try:
        with pytest.raises(ConnectionTestError, match="OUTGATE_SMART_HOST_NETWORKS"):
            change(unit_admin, organisation.sales, relay)
    finally:
        upstream.smart_host_guard.cache_clear()


def test_who_came_second_overwrites_nothing_and_leaves_no_password(
    unit_admin, super_admin, organisation, relay
):
    change(super_admin, organisation.sales, None)
    with pytest.raises(StalePolicyError):
        change(unit_admin, organisation.sales, relay)
    assert not SmartHostCredential.objects.exists()


def test_it_is_no_port_scanner(unit_admin, organisation, relay, partner):
    for _number in range(TESTS_PER_HOUR):
        ConnectionTest.objects.create(user=unit_admin)
    with pytest.raises(ConnectionTestError, match="within an hour are enough"):
        change(unit_admin, organisation.sales, relay)
    assert partner.tried == []


@pytest.mark.parametrize("name", ["owner", "users_admin", "support"])
def test_without_the_right_no_server_is_contacted(name, request, organisation, partner, relay):
    with pytest.raises(PermissionDenied):
        change(request.getfixturevalue(name), organisation.sales, relay)
    assert partner.tried == []


def test_its_password_moves_to_a_new_key_too(unit_admin, organisation, relay, settings):
    change(unit_admin, organisation.sales, relay)
    old = SmartHostCredential.objects.get()
    SmartHostCredential.objects.update(key_id="gone")
    with pytest.raises(CredentialError):
        smart_host_sign_in(old.pk)
    assert list(rotate_credentials())[-1].unreadable == 1

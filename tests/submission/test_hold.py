"""An address's own server does not work: refused, held and tried again, or sent by our servers."""

import pytest
from django.db.models.functions import Now

from accounts.services.app_passwords import revoke_app_password
from accounts.services.audit import SYSTEM
from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery, OutboxChunk, OutboxMessage
from delivery.sealing import CHUNK_BYTES
from policies.models import AppliedPolicy, GatewayFailure, Setting
from sendas.models import SmtpMsa
from tests.away import database_away
from tests.submission.conftest import apply_policy, set_gateway

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
MESSAGE = (
    f"From: {PARTNER_ADDRESS}\r\nTo: {RECIPIENT}\r\nBcc: secret@customer.example\r\n"
    "Subject: Offer\r\n\r\nText\r\n..dot\r\n"
).encode()
BROKEN_AT = {
    "greeting": {"greeting": b"421 4.3.2 Not now\r\n"},
    "AUTH": {"AUTH": b"535 5.7.8 Wrong\r\n"},
    "MAIL": {"MAIL": b"451 4.3.0 Not now\r\n"},
    "RCPT": {"RCPT": b"450 4.2.0 Greylisted\r\n"},
    "DATA": {"DATA": b""},
}

pytestmark = pytest.mark.slow


@pytest.fixture
def client(post_office, app_password):
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


def choose(user, choice: str) -> None:
    apply_policy(user, allowed=True, version=1)
    AppliedPolicy.objects.create(
        cohort=user.cohort, unit=user.unit, setting=Setting.GATEWAY_FAILURE,
        value={"choice": choice}, version=1,
    )  # fmt: skip


def send(client, message: bytes = MESSAGE) -> tuple[int, bytes]:
    """What the mail program hears in the end."""
    client.mail(PARTNER_ADDRESS)
    client.rcpt(RECIPIENT)
    return client.data(message)


@pytest.mark.parametrize("step", BROKEN_AT)
def test_refused_unless_the_unit_chose_otherwise(client, owner, scripted, post_office, step):
    apply_policy(owner, allowed=True, version=1)
    with scripted(**BROKEN_AT[step]):
        code, _words = send(client)
    assert code >= 400
    assert not OutboxMessage.objects.exists()
    assert post_office.raw("ours") == []


@pytest.mark.parametrize("step", BROKEN_AT)
def test_held_and_sent_once_the_server_works(
    client, owner, scripted, post_office, worker_here, step
):
    choose(owner, GatewayFailure.HOLD)
    with scripted(**BROKEN_AT[step]):
        code, words = send(client)
    assert (code, words[:11]) == (250, b"2.0.0 Held:")
    held = OutboxMessage.objects.get()
    assert held.state == OutboxMessage.State.WAITING
    assert (held.from_address, held.recipients) == (PARTNER_ADDRESS, [RECIPIENT])
    if step == "AUTH":
        SmtpMsa.objects.update(refused_at=None)  # its owner typed it anew
    with scripted() as server:
        worker_here()
    assert server.dots == 1
    assert f"MAIL FROM:<{PARTNER_ADDRESS}>" in server.commands[2]
    assert OutboxMessage.objects.get().state == OutboxMessage.State.SENT
    assert not OutboxChunk.objects.exists()
    assert Delivery.objects.filter(state=Delivery.State.DELIVERED).count() == 1
    assert post_office.raw("ours") == []


def test_a_known_bad_password_holds_without_another_try(
    client, owner, scripted, post_office, worker_here
):
    choose(owner, GatewayFailure.HOLD)
    SmtpMsa.objects.update(refused_at=Now())
    with scripted() as server:
        assert send(client)[0] == 250
        worker_here()
    assert server.commands == []
    assert OutboxMessage.objects.get().state == OutboxMessage.State.HELD


def test_what_was_held_arrives_byte_for_byte_at_the_real_partner(
    client, owner, partner_address, post_office, worker_here
):
    choose(owner, GatewayFailure.HOLD)
    port = SmtpMsa.objects.get().port
    SmtpMsa.objects.all().delete()
    set_gateway(partner_address, post_office, "x", port=post_office.upstream_port)
    body = b"".join(b"%06d line\r\n" % number for number in range(3 * CHUNK_BYTES // 13))
    assert send(client, MESSAGE + body)[0] == 250
    SmtpMsa.objects.all().delete()
    set_gateway(partner_address, post_office, post_office.partner_password, port=port)
    OutboxMessage.objects.update(next_attempt_at=Now())
    worker_here()
    [raw] = post_office.raw("partner")
    assert raw.endswith(b"Text\r\n..dot\r\n" + body)
    assert b"X-Envelope-From: " + PARTNER_ADDRESS.encode() in raw
    assert raw.count(b"with ESMTPSA (TLSv1.3)") == 1
    for absent in (b"\nSender:", b"\nBcc:", PRIMARY.encode()):
        assert absent not in raw
    assert post_office.raw("ours") == []


def test_a_policy_taken_away_while_held_sends_it_by_our_servers(
    client, owner, scripted, post_office, worker_here
):
    choose(owner, GatewayFailure.HOLD)
    with scripted(greeting=b"421 4.3.2 Not now\r\n"):
        assert send(client)[0] == 250
    apply_policy(owner, allowed=False, version=2)
    worker_here()
    [raw] = post_office.raw("ours")
    assert b"X-Envelope-From: " + PRIMARY.encode() in raw
    assert b"Sender: " + PRIMARY.encode() in raw


@pytest.mark.parametrize("choice", GatewayFailure.values)
@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
def test_a_permanent_answer_to_the_message_is_passed_on_whatever_was_chosen(
    client, owner, scripted, post_office, choice, step
):
    choose(owner, choice)
    with scripted(**{step: b"550 5.1.1 Never\r\n"}):
        code, words = send(client)
    assert code == 550
    assert b"Never" in words
    assert not OutboxMessage.objects.exists()
    assert post_office.raw("ours") == []


@pytest.mark.parametrize("step", ["greeting", "AUTH"])
def test_our_servers_carry_it_at_once_and_say_for_whom(client, owner, scripted, post_office, step):
    choose(owner, GatewayFailure.OUR_SERVERS)
    with scripted(**BROKEN_AT[step]) as server:
        assert send(client)[0] == 250
        assert send(client)[0] == 250  # the second one as well, and no password is tried again
    assert server.commands.count("AUTH") == (1 if step == "AUTH" else 0)
    first, second = post_office.raw("ours")
    for raw in (first, second):
        assert b"X-Envelope-From: " + PRIMARY.encode() in raw
        assert b"Sender: " + PRIMARY.encode() in raw
    delivered = Delivery.objects.filter(state=Delivery.State.DELIVERED)
    assert {row.explanation["rule"] for row in delivered} == {"our_servers_instead"}


def test_behind_354_nothing_is_held(client, owner, scripted):
    choose(owner, GatewayFailure.HOLD)
    with scripted(**{".": b"451 4.3.0 Not now\r\n"}):
        code, _words = send(client)
    assert code == 451
    assert not OutboxMessage.objects.exists()


def test_without_the_database_nothing_is_held(client, owner, scripted, services):
    choose(owner, GatewayFailure.HOLD)
    body = b"Text\r\n" * 100_000
    with scripted(greeting=b"421 4.3.2 Not now\r\n"):
        client.mail(PARTNER_ADDRESS)
        client.rcpt(RECIPIENT)
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE + body)
        with database_away(services):
            client.send(b"More\r\n.\r\n")
            assert client.getreply()[0] == 451
    assert not OutboxMessage.objects.filter(state=OutboxMessage.State.WAITING).exists()


def test_an_app_password_revoked_meanwhile_is_not_held(client, owner, scripted):
    choose(owner, GatewayFailure.HOLD)
    with scripted(greeting=b"421 4.3.2 Not now\r\n"):
        client.mail(PARTNER_ADDRESS)
        client.rcpt(RECIPIENT)
        client.docmd("DATA")
        client.send(MESSAGE + b"Text\r\n" * 100_000)
        revoke_app_password(actor=SYSTEM, app_password=owner.app_passwords.get())
        client.send(b".\r\n")
        assert client.getreply()[0] == 550
    assert not OutboxMessage.objects.exists()
    assert not OutboxChunk.objects.exists()

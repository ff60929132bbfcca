"""What a client hears of the real service: literal lines over a socket."""

import base64
import contextlib
import smtplib
import socket
import time

import pytest

from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.sign_ins import sign_in
from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import OutboxMessage
from policies.models import AppliedPolicy, GatewayFailure, Setting
from sendas.models import SmtpMsa
from smtp.session import Limits
from tests.submission.conftest import apply_policy, set_gateway

PRIMARY = "user@yourdomain.com"
pytestmark = pytest.mark.slow


@pytest.fixture
def plain(post_office):
    with smtplib.SMTP("localhost", post_office.port, timeout=20) as client:
        yield client


@pytest.fixture
def signed_in(post_office, app_password):
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


def test_before_tls_nobody_can_sign_in_or_send(plain):
    plain.ehlo()
    assert "starttls" in plain.esmtp_features
    assert "auth" not in plain.esmtp_features
    assert plain.docmd("AUTH PLAIN AHVzZXIAcGFzcw==")[0] in {530, 538}
    assert plain.docmd(f"MAIL FROM:<{PRIMARY}>")[0] == 530


def test_after_tls_sign_in_is_offered_and_asked_for(post_office):
    with post_office.connect() as client:
        client.ehlo()
        assert set(client.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN"}
        for name in ("pipelining", "8bitmime", "enhancedstatuscodes"):
            assert name in client.esmtp_features
        assert "dsn" not in client.esmtp_features
        assert client.docmd(f"MAIL FROM:<{PRIMARY}>")[0] == 530


def test_three_wrong_passwords_end_the_connection(post_office, app_password):
    with post_office.connect() as client:
        client.ehlo()
        begun = time.monotonic()
        answers = [
            client.docmd(f"AUTH PLAIN {base64.b64encode(said.encode()).decode()}")
            for said in (f"\0{PRIMARY}\0wrong", "\0nobody@yourdomain.com\0wrong", "\0user\0x")
        ]
        assert time.monotonic() - begun >= 15
    known, unknown, last = answers
    assert known == unknown
    assert (known[0], last[0]) == (535, 421)


def test_after_ten_wrong_passwords_a_right_one_has_to_wait_but_nobody_elses(
    post_office, app_password, colleague, signed_in
):
    for _failure in range(10):
        sign_in(username=PRIMARY, secret="wrong", peer="127.0.0.1")
    with post_office.connect() as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(PRIMARY, app_password)
        assert refused.value.smtp_code == 454
        assert refused.value.smtp_error.startswith(b"4.7.0 Too many wrong app passwords")
        assert b"try again in 10 minutes" in refused.value.smtp_error
        other = create_app_password(actor=SYSTEM, user=colleague, name="Phone")[1]
        assert client.login(colleague.primary_address, other)[0] == 235
    # Whoever is in stays in.
    assert signed_in.mail(PRIMARY)[0] == 250


def test_an_announced_size_beyond_the_limit_is_refused_at_mail(signed_in):
    signed_in.ehlo()
    limit = int(signed_in.esmtp_features["size"])
    assert signed_in.docmd(f"MAIL FROM:<{PRIMARY}> SIZE={limit + 1}")[0] == 552
    assert signed_in.docmd(f"MAIL FROM:<{PRIMARY}> SIZE={limit}")[0] == 250


def test_the_hundred_and_first_recipient_is_refused(signed_in):
    signed_in.ehlo()
    signed_in.mail(PRIMARY)
    codes = [signed_in.rcpt(f"r{number}@customer.example")[0] for number in range(101)]
    assert set(codes[:100]) == {250}
    assert codes[100] == 452


def test_the_fifty_first_connection_of_one_address_is_refused(post_office):
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", post_office.port), 20, ("127.0.9.9", 0))

    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(connect()) for _ in range(50)]
        assert {each.recv(3) for each in open_ones} == {b"220"}
        assert stack.enter_context(connect()).recv(3) == b"421"


def test_the_service_has_the_limits_that_were_laid_down():
    """It takes all but the size of a message from here; what each does is in tests/smtp."""
    limits = Limits()
    assert (limits.command_line, limits.auth_line, limits.header_size) == (512, 12_288, 102_400)
    assert (limits.recipients, limits.errors, limits.junk_commands) == (100, 20, 100)
    assert (limits.auth_failures, limits.auth_failure_delay) == (3, 5)
    assert (limits.before_auth, limits.idle, limits.bytes_per_second) == (60, 300, 500)
    assert limits.connections_per_ip == 50
    assert limits.greeting_delay > 0


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_quiet_clients_are_cut_off_in_their_time(plain, signed_in):
    """With the real times: a minute before the sign-in, five behind it."""
    begun = time.monotonic()
    for client, seconds in ((plain, 60), (signed_in, 300)):
        client.sock.settimeout(seconds + 30)
        assert client.getreply()[0] == 421
        took = time.monotonic() - begun
        print(f"quiet for {took:.0f} s")
        assert seconds - 1 <= took < seconds + 10


FAKE_ENDINGS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\0.\r\n", b"\r\n.\0\r\n",
]  # fmt: skip


@pytest.fixture(params=["our servers", "gateway", "outbox"])
def sender(request, owner, post_office) -> str:
    """An address whose mail goes this way."""
    if request.param == "our servers":
        return PRIMARY
    send_as = request.getfixturevalue("partner_address")
    apply_policy(owner, allowed=True, version=1)
    if request.param == "outbox":
        # Nobody listens at its server, so what comes is held.
        SmtpMsa.objects.all().delete()
        set_gateway(send_as, post_office, "x", port=post_office.upstream_port)
        AppliedPolicy.objects.create(
            cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_FAILURE,
            value={"choice": GatewayFailure.HOLD}, version=1,
        )  # fmt: skip
    post_office.hears_of_changes()
    return PARTNER_ADDRESS


@pytest.mark.parametrize("ending", [*FAKE_ENDINGS, b"\r\n"], ids=repr)
def test_a_fake_ending_smuggles_nothing(signed_in, post_office, sender, ending):
    """Where it is a right line end instead, the message goes, and is one."""
    smuggled = b"MAIL FROM:<boss@yourdomain.com>\r\nRCPT TO:<x@customer.example>\r\nDATA\r\n"
    signed_in.ehlo()
    signed_in.mail(PRIMARY)
    signed_in.rcpt("claire@customer.example")
    assert signed_in.docmd("DATA")[0] == 354
    signed_in.send(f"From: {sender}\r\n\r\nText".encode() + ending + smuggled + b"\r\n.\r\n")
    code, _text = signed_in.getreply()
    taken = [*post_office.raw("ours"), *post_office.raw("partner"), *OutboxMessage.objects.all()]
    is_right = ending == b"\r\n"
    assert code // 100 == (2 if is_right else 5)
    assert len(taken) == is_right
    signed_in.close()  # the service would wait two seconds for that


def test_commands_sent_before_the_handshake_are_not_obeyed_after_it(post_office):
    with socket.create_connection(("localhost", post_office.port), timeout=20) as raw:
        raw.recv(1000)
        raw.sendall(b"EHLO client.example\r\n")
        raw.recv(4000)
        raw.sendall(b"STARTTLS\r\nMAIL FROM:<user@yourdomain.com>\r\nNOOP\r\n")
        answer = b"".join(iter(lambda: raw.recv(4000), b""))
    assert answer.startswith(b"554 ")
    assert answer.count(b"\r\n") == 1

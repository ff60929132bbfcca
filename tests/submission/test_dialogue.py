"""What a client hears of the real service: literal lines over a socket."""

import smtplib
import socket
import ssl

import pytest

from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.sign_ins import sign_in

PRIMARY = "user@yourdomain.com"
pytestmark = pytest.mark.slow


@pytest.fixture
def plain(post_office):
    with smtplib.SMTP("localhost", post_office.port, timeout=20) as client:
        yield client


@pytest.fixture
def signed_in(post_office, app_password):
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    with smtplib.SMTP_SSL("localhost", post_office.tls_port, context=tls, timeout=20) as client:
        client.login(PRIMARY, app_password)
        yield client


def test_before_tls_nobody_can_sign_in_or_send(plain):
    plain.ehlo()
    assert "starttls" in plain.esmtp_features
    assert "auth" not in plain.esmtp_features
    assert plain.docmd("AUTH PLAIN AHVzZXIAcGFzcw==")[0] in {530, 538}
    assert plain.docmd(f"MAIL FROM:<{PRIMARY}>")[0] == 530


def test_after_tls_sign_in_is_offered_and_asked_for(post_office):
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    with smtplib.SMTP_SSL("localhost", post_office.tls_port, context=tls, timeout=20) as client:
        client.ehlo()
        assert set(client.esmtp_features["auth"].split()) == {"PLAIN", "LOGIN"}
        for name in ("pipelining", "8bitmime", "enhancedstatuscodes"):
            assert name in client.esmtp_features
        assert "dsn" not in client.esmtp_features
        assert client.docmd(f"MAIL FROM:<{PRIMARY}>")[0] == 530


def test_three_wrong_passwords_end_the_connection(post_office, app_password):
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    with smtplib.SMTP_SSL("localhost", post_office.tls_port, context=tls, timeout=40) as client:
        client.ehlo()
        codes = [client.docmd("AUTH PLAIN AHVzZXIAcGFzcw==")[0] for _attempt in range(3)]
    assert codes[:2] == [535, 535]
    assert codes[2] == 421


def test_after_ten_wrong_passwords_a_right_one_has_to_wait_but_nobody_elses(
    post_office, app_password, colleague, signed_in
):
    for _failure in range(10):
        sign_in(username=PRIMARY, secret="wrong", peer="127.0.0.1")
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    with smtplib.SMTP_SSL("localhost", post_office.tls_port, context=tls, timeout=20) as client:
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


FAKE_ENDINGS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\0.\r\n", b"\r\n.\0\r\n",
]  # fmt: skip


@pytest.mark.parametrize("ending", FAKE_ENDINGS, ids=repr)
def test_a_fake_ending_smuggles_nothing(signed_in, post_office, ending):
    smuggled = b"MAIL FROM:<boss@yourdomain.com>\r\nRCPT TO:<x@customer.example>\r\nDATA\r\n"
    signed_in.ehlo()
    signed_in.mail(PRIMARY)
    signed_in.rcpt("claire@customer.example")
    assert signed_in.docmd("DATA")[0] == 354
    signed_in.send(b"From: user@yourdomain.com\r\n\r\nText" + ending + smuggled + b"\r\n.\r\n")
    code, _text = signed_in.getreply()
    assert code // 100 == 5
    assert post_office.raw("ours") == post_office.raw("partner") == []
    signed_in.close()  # the service would wait two seconds for that


def test_commands_sent_before_the_handshake_are_not_obeyed_after_it(post_office):
    with socket.create_connection(("localhost", post_office.port), timeout=20) as raw:
        raw.recv(1000)
        raw.sendall(b"EHLO client.example\r\n")
        raw.recv(4000)
        raw.sendall(b"STARTTLS\r\nMAIL FROM:<user@yourdomain.com>\r\nNOOP\r\n")
        answer = raw.recv(4000)
    assert answer.count(b"250 ") == 0

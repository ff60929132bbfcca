"""PostgreSQL away at each step: a 4xx that says so, and no final dot."""

import smtplib

import pytest

from delivery.models import Delivery
from tests.away import database_away

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
MESSAGE = f"From: {PRIMARY}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n".encode()

pytestmark = pytest.mark.slow


@pytest.fixture
def client(post_office, app_password):
    with post_office.connect() as client:
        client.ehlo()
        yield client


def test_sign_in_answers_try_later(client, services, app_password, post_office):
    with database_away(services), pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        client.login(PRIMARY, app_password)
    assert refused.value.smtp_code == 454
    client.login(PRIMARY, app_password)
    assert app_password not in post_office.log


def test_a_message_is_refused_before_it_goes_anywhere(client, services, app_password, post_office):
    client.login(PRIMARY, app_password)
    with database_away(services), pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
    assert refused.value.smtp_code == 451
    assert b"database" in refused.value.smtp_error
    assert post_office.raw("ours") == []
    client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
    assert len(post_office.raw("ours")) == 1


def test_away_between_header_and_final_dot_no_dot_is_sent(
    client, services, app_password, post_office
):
    client.login(PRIMARY, app_password)
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    assert client.docmd("DATA")[0] == 354
    client.send(MESSAGE)
    with database_away(services):
        client.send(b"More\r\n.\r\n")
        assert client.getreply()[0] == 451
    assert post_office.raw("ours") == []
    assert not Delivery.objects.filter(state=Delivery.State.DELIVERED).exists()


def test_connections_that_were_cut_meanwhile_fail_no_message(
    client, services, app_password, post_office
):
    client.login(PRIMARY, app_password)
    client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
    with database_away(services):
        pass
    client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
    assert len(post_office.raw("ours")) == 2

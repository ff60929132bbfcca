"""Cut-through: streaming, refusals of the upstream at each step, and what the log says then."""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery
from sendas.models import SendAs
from tests.processes import until
from tests.submission.conftest import apply_policy, give_scripted_gateway

PRIMARY = "user@yourdomain.com"
RECIPIENTS = ["claire@customer.example", "dan@customer.example"]
HEADER = f"From: {PARTNER_ADDRESS}\r\nTo: {RECIPIENTS[0]}\r\nSubject: x\r\n\r\n".encode()
LINE = b"x" * 998 + b"\r\n"
MEGABYTE = LINE * 1_000

pytestmark = pytest.mark.slow


@pytest.fixture
def gateway(owner, post_office) -> Iterator[SendAs]:
    send_as = give_scripted_gateway(owner, post_office)
    yield send_as
    # Whatever became of the message, no other server has it.
    assert post_office.raw("ours") == post_office.raw("partner") == []


@pytest.fixture
def client(post_office, app_password, gateway):
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


def begin(client) -> None:
    client.mail(PRIMARY)
    for recipient in RECIPIENTS:
        client.rcpt(recipient)
    assert client.docmd("DATA")[0] == 354


def resident_kilobytes(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def logged(state: str) -> Delivery:
    until(lambda: Delivery.objects.filter(state=state, finished_at__isnull=False).exists(), 5)
    return Delivery.objects.get()


def test_the_upstream_has_the_first_megabyte_before_the_client_sends_its_last(client, post_office):
    with post_office.upstream() as upstream:
        begin(client)
        client.send(HEADER + MEGABYTE)
        until(lambda: upstream.content > len(MEGABYTE), 10)
        assert upstream.dots == 0
        row = Delivery.objects.get()
        assert row.state == Delivery.State.HANDING_OVER
        client.send(MEGABYTE + b".\r\n")
        code, text = client.getreply()
        assert (code, text) == (250, f"2.0.0 Taken as 4Xk2 (Outgate {row.pk})".encode())
        assert upstream.dots == 1
        assert upstream.content > 2 * len(MEGABYTE)
    assert logged(Delivery.State.DELIVERED).size > 2 * len(MEGABYTE)
    assert post_office.raw("ours") == []


def test_a_message_of_25_megabytes_is_never_held(client, post_office):
    service = post_office.submission.process.pid
    with post_office.upstream() as upstream:
        client.sendmail(PRIMARY, RECIPIENTS, HEADER + LINE)  # what grows once has grown
        before = resident_kilobytes(service)
        begin(client)
        client.send(HEADER)
        highest = 0
        for _megabyte in range(25):
            client.send(MEGABYTE)
            highest = max(highest, resident_kilobytes(service))
        client.send(b".\r\n")
        assert client.getreply()[0] == 250
        highest = max(highest, resident_kilobytes(service))
        assert upstream.content > 25 * len(MEGABYTE)
    assert highest - before < 20_000


def test_it_is_taken_for_all_recipients_or_for_none(client, post_office):
    refused = {f"RCPT TO:<{RECIPIENTS[1]}>": b"550 5.1.1 No such user here\r\n"}
    with post_office.upstream(**refused) as upstream:
        with pytest.raises(smtplib.SMTPDataError) as answer:
            client.sendmail(PRIMARY, RECIPIENTS, HEADER + LINE)
        assert upstream.dots == 0
    text = answer.value.smtp_error.decode()
    assert answer.value.smtp_code == 550
    assert RECIPIENTS[1] in text
    assert "No such user here" in text
    assert RECIPIENTS[0] not in text
    assert logged(Delivery.State.REFUSED).reply.startswith("550 5.1.1")


@pytest.mark.parametrize(
    ("verb", "answer", "code"),
    [
        ("MAIL", b"550 5.7.1 Not you\r\n", 550),
        ("RCPT", b"451 4.2.0 Greylisted\r\n", 451),
        ("DATA", b"554 5.5.0 Not today\r\n", 554),
        (".", b"552 5.3.4 Too big after all\r\n", 552),
        (".", b"451 4.3.0 Disk full\r\n", 451),
        ("EHLO", b"421 4.3.2 Closing\r\n", 451),
        ("greeting", b"HTTP/1.1 400 Bad Request\r\n", 451),
        ("AUTH", b"454 4.7.0 Try later\r\n", 451),
    ],
)  # fmt: skip
def test_what_the_upstream_refuses_is_refused_with_its_words(
    client, post_office, verb, answer, code
):
    with (
        post_office.upstream(**{verb: answer}),
        pytest.raises(smtplib.SMTPDataError) as refused,
    ):
        client.sendmail(PRIMARY, RECIPIENTS, HEADER + LINE)
    assert refused.value.smtp_code == code
    if verb in {"MAIL", "RCPT", "DATA", "."}:
        assert answer.decode().split(" ", 2)[2].strip() in refused.value.smtp_error.decode()
    assert logged(Delivery.State.REFUSED).route == "gateway"
    assert post_office.raw("ours") == post_office.raw("partner") == []


def test_a_sender_that_its_own_server_does_not_know_is_to_be_proved_again(
    client, post_office, gateway
):
    SendAs.objects.filter(pk=gateway.pk).update(verified_at=Now() - timedelta(days=30))
    with (
        post_office.upstream(MAIL=b"550 5.1.8 Nobody of that name sends here\r\n"),
        pytest.raises(smtplib.SMTPDataError, match="Nobody of that name"),
    ):
        client.sendmail(PRIMARY, RECIPIENTS, HEADER + LINE)
    gateway.refresh_from_db()
    assert gateway.ask_reason == SendAs.AskReason.SENDER


def test_lost_behind_the_final_dot_the_log_leaves_it_open(client, post_office):
    with (
        post_office.upstream(**{".": b""}),
        pytest.raises(smtplib.SMTPDataError, match="may have been sent"),
    ):
        client.sendmail(PRIMARY, RECIPIENTS, HEADER + LINE)
    assert logged(Delivery.State.HANDING_OVER).reply.startswith("451")


def test_a_client_that_breaks_off_sends_nothing(client, post_office):
    with post_office.upstream() as upstream:
        begin(client)
        client.send(HEADER + MEGABYTE)
        until(lambda: upstream.content > 0, 10)
        client.close()
        assert logged(Delivery.State.REFUSED).reply.endswith("Nothing was sent.")
        assert upstream.dots == 0


def test_a_policy_that_changes_while_the_body_streams_stops_the_dot(client, post_office, owner):
    with post_office.upstream() as upstream:
        begin(client)
        client.send(HEADER + MEGABYTE)
        until(lambda: upstream.content > 0, 10)
        apply_policy(owner, allowed=False, version=2)
        post_office.hears_of_changes()
        client.send(b".\r\n")
        code, text = client.getreply()
        assert (code, b"changed meanwhile" in text) == (451, True)
        assert upstream.dots == 0
    assert post_office.raw("ours") == []


def test_one_connection_carries_many_messages_of_one_credential(client, post_office):
    with post_office.upstream() as upstream:
        for _message in range(3):
            client.sendmail(PRIMARY, RECIPIENTS, HEADER + LINE)
        assert upstream.dots == 3
        assert upstream.commands.count("AUTH") == 1


def test_slow_writers_do_not_hold_up_the_next_message(post_office, app_password):
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    header = f"From: {PRIMARY}\r\nTo: {RECIPIENTS[0]}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        *slow, quick = (
            stack.enter_context(
                smtplib.SMTP_SSL("localhost", post_office.tls_port, context=tls, timeout=20)
            )
            for _ in range(16)
        )
        for each in slow:
            each.login(PRIMARY, app_password)
            begin(each)
            each.send(header)
        quick.login(PRIMARY, app_password)
        quick.sendmail(PRIMARY, RECIPIENTS, header)
        assert len(post_office.raw("ours")) == 1
        for each in slow:
            each.send(b".\r\n")
            assert each.getreply()[0] == 250
    assert len(post_office.raw("ours")) == 16

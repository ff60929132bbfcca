"""Small messages through a server that takes chunks: one flight, and what can go wrong with it."""

import signal
import smtplib
from collections.abc import Iterator

import pytest
from django.db.models.functions import Now

from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery, RecipientCount
from sendas.models import SendAs
from tests.processes import until
from tests.submission.conftest import apply_policy, give_scripted_gateway
from tests.submission.own_service import PRIMARY, own_service
from tests.submission.upstream import CHUNKING, Upstream

RECIPIENT = "claire@customer.example"
HEADER = f"From: {PARTNER_ADDRESS}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\n"
BODY = ".\r\n..dots\r\nText\r\n"
WIRE = smtplib.quotedata(HEADER + BODY)

pytestmark = pytest.mark.slow


@pytest.fixture
def gateway(owner, post_office) -> SendAs:
    send_as = give_scripted_gateway(owner, post_office)
    post_office.hears_of_changes()
    return send_as


@pytest.fixture
def upstream(post_office, gateway) -> Iterator[Upstream]:
    with post_office.upstream(EHLO=CHUNKING) as upstream:
        yield upstream


@pytest.fixture
def client(post_office, app_password, upstream) -> Iterator[smtplib.SMTP_SSL]:
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


def send(client: smtplib.SMTP, body: str = BODY) -> tuple[int, bytes]:
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    return client.data(HEADER + body)


def last_logged(number: int) -> Delivery:
    ended = Delivery.objects.exclude(finished_at=None)
    until(lambda: ended.count() == number, 5)
    return ended.latest("created_at")


def test_on_a_warm_connection_a_message_is_one_flight(client, upstream):
    assert [send(client)[0] for _message in range(3)] == [250, 250, 250]
    assert [command.split()[0] for command in upstream.commands] == [
        "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "BDAT", "MAIL", "RCPT", "BDAT",
    ]  # fmt: skip
    assert len(upstream.chunks) == 2
    for chunk in upstream.chunks:
        assert chunk.endswith(("\r\n\r\n" + BODY).encode())
    row = last_logged(3)
    assert (row.state, row.reply) == (Delivery.State.DELIVERED, "250 2.0.0 Taken as 4Xk3")
    assert row.times.keys() >= {"content", "log", "dot"}


@pytest.mark.parametrize(
    ("step", "answer", "code", "words", "state"),
    [
        ("MAIL", b"550 5.7.1 Not you\r\n", 550, b"Not you", Delivery.State.REFUSED),
        ("MAIL", b"450 4.2.0 Not now\r\n", 450, b"Not now", Delivery.State.REFUSED),
        ("RCPT", b"550 5.1.1 Unknown\r\n", 550, b"nobody got the message", Delivery.State.REFUSED),
        ("BDAT", b"552 5.3.4 Too big\r\n", 552, b"Too big", Delivery.State.REFUSED),
        ("BDAT", b"421 4.3.0 Closing\r\n", 451, b"Closing", Delivery.State.REFUSED),
        ("MAIL", b"", 451, b"may have been sent", Delivery.State.HANDING_OVER),
        ("BDAT", b"", 451, b"may have been sent", Delivery.State.HANDING_OVER),
    ],
)  # fmt: skip
def test_what_goes_wrong_with_a_flight_is_told_and_logged(
    client, upstream, step, answer, code, words, state
):
    assert send(client)[0] == 250
    upstream.answers[step] = answer
    heard, text = send(client)
    assert heard == code
    assert words in text
    row = last_logged(2)
    assert row.state == state
    assert upstream.dots == 1 + (step == "BDAT")


def test_a_server_that_ends_the_connection_gets_the_message_on_another(client, upstream):
    assert send(client)[0] == 250
    upstream.answers["MAIL"] = once = Once(b"421 4.7.0 No more on this one\r\n", upstream)
    assert send(client)[0] == 250
    assert once.said == 1
    assert [upstream.commands.count(verb) for verb in ("EHLO localhost", "AUTH", "DATA")][1:] == [
        2,
        2,
    ]
    assert last_logged(2).state == Delivery.State.DELIVERED


class Once:
    """Says something one time, and closes; afterwards the usual answer is given."""

    def __init__(self, answer: bytes, upstream: Upstream) -> None:
        self.said = 0
        self._answer = answer
        self._upstream = upstream

    def __call__(self, connection) -> None:
        self.said += 1
        del self._upstream.answers["MAIL"]
        connection.sendall(self._answer)


def test_a_rule_that_changes_before_the_dot_keeps_the_flight_here(
    client, upstream, post_office, owner
):
    assert send(client)[0] == 250
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    assert client.docmd("DATA")[0] == 354
    client.send(WIRE)
    until(lambda: Delivery.objects.count() == 2, 5)
    apply_policy(owner, allowed=False, version=2)
    post_office.hears_of_changes()
    client.send(".\r\n")
    code, text = client.getreply()
    assert (code, b"changed meanwhile" in text) == (451, True)
    assert (upstream.dots, upstream.chunks) == (1, [])
    # The connection, of which nothing was used, is the next message's.
    apply_policy(owner, allowed=True, version=3)
    post_office.hears_of_changes()
    assert send(client)[0] == 250
    assert [command.split()[0] for command in upstream.commands].count("AUTH") == 1


def test_a_message_that_is_broken_off_leaves_the_connection_to_the_next(
    client, upstream, post_office, app_password
):
    assert send(client)[0] == 250
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    assert client.docmd("DATA")[0] == 354
    client.send(WIRE)
    until(lambda: Delivery.objects.count() == 2, 5)
    client.close()
    assert last_logged(2).reply.startswith("451 4.3.0 The mail program broke off")
    with post_office.connect() as another:
        another.login(PRIMARY, app_password)
        assert send(another)[0] == 250
    verbs = [command.split()[0] for command in upstream.commands]
    assert (verbs.count("AUTH"), verbs.count("MAIL")) == (1, 2)


@pytest.mark.parametrize("body", [BODY, ("x" * 98 + "\r\n") * 700], ids=["small", "large"])
def test_a_server_hears_nothing_of_a_message_beyond_the_limit(client, upstream, owner, body):
    assert send(client)[0] == 250
    RecipientCount.objects.create(account_id=owner.pk, bucket=Now(), recipients=499)
    code, text = send(client, body)
    assert (code, b"may write to 500 recipients an hour" in text) == (450, True)
    assert last_logged(2).reply.startswith("450 4.7.1")
    assert [command.split()[0] for command in upstream.commands].count("MAIL") == 1


@pytest.mark.parametrize(("step", "counted"), [("RCPT", 1), ("BDAT", 2)])
def test_only_what_a_server_had_all_of_counts(client, upstream, step, counted):
    assert send(client)[0] == 250
    upstream.answers[step] = b"550 5.7.1 No\r\n"
    assert send(client)[0] == 550
    until(lambda: sum(RecipientCount.objects.values_list("recipients", flat=True)) == counted, 5)


@pytest.mark.parametrize("step", ["MAIL", "BDAT"])
def test_killed_behind_a_flight_the_log_has_the_message(
    post_office, gateway, upstream, app_password, step
):
    """As behind the final dot (RFC 1047): sent perhaps, heard of by nobody, and on record."""
    with own_service(post_office) as service, service.sign_in(app_password) as client:
        assert send(client)[0] == 250
        upstream.hold = step
        client.mail(PRIMARY)
        client.rcpt(RECIPIENT)
        client.docmd("DATA")
        client.send(WIRE + ".\r\n")
        assert upstream.holding.wait(5)
        service.process.process.send_signal(signal.SIGKILL)
        service.process.process.wait()
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            client.getreply()
        upstream.release()
        client.close()
    if step == "BDAT":  # the server has read it all
        assert upstream.dots == 2
    row = Delivery.objects.latest("created_at")
    assert (row.state, row.finished_at) == (Delivery.State.HANDING_OVER, None)
    assert row.message_id

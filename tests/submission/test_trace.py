"""A message's number: in the reply, the delivery log, the header and the service's own log."""

import json
import re
import smtplib
from typing import Any

import pytest

from delivery.models import Delivery
from delivery.trace import Trace
from smtp.reply import Reply
from smtp.session import Session
from tests.processes import until
from tests.submission.nodes import Node, node

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
NUMBER = re.compile(r"\(Outgate ([-0-9a-f]{36})\)$")


def write(sender: str) -> str:
    return f"From: {sender}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n"


def lines(service: Node, **wanted: str) -> list[dict[str, Any]]:
    """The objects that it has logged, those that hold what is wanted."""
    logged = [json.loads(line) for line in service.process.output.splitlines()]
    return [each for each in logged if wanted.items() <= each.items()]


def number_in(reply: bytes) -> str:
    found = NUMBER.search(reply.decode())
    assert found, reply
    return found[1]


@pytest.mark.slow
def test_support_finds_a_message_by_what_its_author_saw(post_office, app_password, owner):
    settings = {"OUTGATE_LOG_FORMAT": "json", "OUTGATE_LOG_LEVEL": "INFO"}
    with node(post_office, **settings) as service:
        with service.connect() as client:
            client.login(PRIMARY, app_password)
            client.mail(PRIMARY)
            client.rcpt(RECIPIENT)
            code, text = client.data(write(PRIMARY))
            with pytest.raises(smtplib.SMTPDataError) as refused:
                client.sendmail(PRIMARY, [RECIPIENT], write("boss@yourdomain.com"))
        accepted, denied = number_in(text), number_in(refused.value.smtp_error)
        assert code == 250
        assert text.startswith(b"2.0.0 Kept as ")

        until(lambda: Delivery.objects.filter(finished_at__isnull=False).count() == 2, 5)
        assert Delivery.objects.get(pk=accepted).state == Delivery.State.DELIVERED
        assert Delivery.objects.get(pk=denied).state == Delivery.State.REFUSED
        received = post_office.captured("ours")[0].get_all("Received")[1]
        assert f"id {accepted}" in received

        until(lambda: lines(service, logger="smtp.server"), 5)
        (told,) = lines(service, message=accepted)
        assert told["account"] == str(owner.pk)
        assert (told["route"], told["outcome"], told["answer"]) == (
            "default",
            "accepted",
            "250 2.0.0",
        )
        assert told["upstream"] == f"localhost:{post_office.ports['OUTGATE_DEMO_OURS_PORT']}"
        assert told["milliseconds"] > 0
        (told,) = lines(service, message=denied)
        assert (told["route"], told["outcome"], told["answer"]) == ("none", "refused", "550 5.7.1")
        assert len(lines(service, session=told["session"])) == 4  # sign-in, two messages, the end
        for secret in (app_password, RECIPIENT):
            assert secret not in service.process.output


def test_a_long_reply_keeps_its_words_and_its_number(owner):
    trace = Trace(Session("192.0.2.1"), owner.pk)
    reply = trace.end(Reply(250, "2.0.0", "short\n" + "x" * 480))
    wire = reply.encode().decode()
    assert wire.count("\r\n") == 3
    assert "x" * 480 in wire
    assert wire.endswith(f"250 2.0.0 (Outgate {trace.number})\r\n")


def test_a_message_is_told_of_once(owner, caplog):
    trace = Trace(Session("192.0.2.1"), owner.pk)
    with caplog.at_level("INFO", "delivery.trace"):
        trace.end(Reply(451, "4.3.0", "Later"))
        trace.break_off()
    assert [record.fields["outcome"] for record in caplog.records] == ["deferred"]

"""Processes of the service and of the outbox together: a wrong password is tried once in all."""

import contextlib
import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import OutboxMessage
from delivery.tasks import deliver_outbox
from sendas.models import OwnerNotice, SendAs, SmtpMsa
from tests.delivery.outbox import put
from tests.processes import WORKER, running, until
from tests.submission.conftest import give_scripted_gateway
from tests.submission.nodes import node
from tests.submission.provider import provider

RECIPIENT = "claire@customer.example"
SESSIONS, MESSAGES = 10, 50

pytestmark = pytest.mark.slow


@pytest.fixture
def send_as(owner, post_office) -> SendAs:
    return give_scripted_gateway(owner, post_office, "the old one")


def test_a_wrong_password_is_tried_once_however_much_mail_there_is(
    post_office, owner, send_as, app_password
):
    worker = [*WORKER, "--queues", "outbox", "--hostname", "breaker"]
    with (
        provider(post_office.upstream_port, post_office.certificate, set()) as server,
        node(post_office, "--processes", "2") as service,
        running("outbox-worker", worker, post_office.environment) as outbox,
        contextlib.ExitStack() as stack,
        ThreadPoolExecutor(SESSIONS) as threads,
    ):
        until(lambda: service.process.output.count("submission listens") == 2, 20)
        outbox.wait_for(r"\bready\.")
        sessions = [
            stack.enter_context(contextlib.closing(service.sign_in(app_password)))
            for _ in range(SESSIONS)
        ]
        for number in range(MESSAGES):
            put(owner, from_address=PARTNER_ADDRESS, subject=f"{number}")
        for _ in range(4):
            deliver_outbox.delay()

        def send(client: smtplib.SMTP_SSL) -> list[str]:
            return [say(client) for _ in range(MESSAGES // SESSIONS)]

        answers = [answer for each in threads.map(send, sessions) for answer in each]
        held = OutboxMessage.objects.filter(state="held")
        until(lambda: held.count() == MESSAGES, 30, lambda: outbox.output)
    assert len(server.tried) == 1
    assert len(answers) == MESSAGES
    assert all("no longer accepts the stored password" in answer for answer in answers)
    assert server.kept == post_office.raw("ours") == []
    assert SmtpMsa.objects.get().refused_at
    assert OwnerNotice.objects.count() == 1


def say(client: smtplib.SMTP_SSL) -> str:
    """What a message is answered with."""
    text = f"From: {PARTNER_ADDRESS}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n"
    with pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(PARTNER_ADDRESS, [RECIPIENT], text)
    assert refused.value.smtp_code in (550, 554)  # known, or heard just now
    return refused.value.smtp_error.decode()

"""kill -9 of the service while it takes a message that it is to hold: what heard 250 is there."""

import contextlib
import os
import signal
import smtplib
from collections.abc import Iterator

import psycopg
import pytest
from django.db.models.functions import Now

from delivery.models import OutboxChunk, OutboxMessage
from delivery.sealing import CHUNK_BYTES
from policies.models import GatewayFailure
from tests.processes import until
from tests.submission.own_service import OwnService, own_service
from tests.submission.test_hold import MESSAGE, PARTNER_ADDRESS, RECIPIENT, choose
from tests.submission.test_kills import superuser

State = OutboxMessage.State
BODY = b"Some text\r\n" * (3 * CHUNK_BYTES // 11)
NOT_NOW = {"greeting": b"421 4.3.2 Not now\r\n"}
ROUNDS = [1, *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 36))]

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("round_number", ROUNDS)]


@contextlib.contextmanager
def begun(scripted, office, password: str) -> Iterator[tuple[OwnService, smtplib.SMTP_SSL]]:
    """The server is away; all of the content has been said but its dot, and chunks are stored."""
    with (
        scripted(**NOT_NOW),
        own_service(office) as service,
        contextlib.closing(service.sign_in(password)) as client,
    ):
        client.mail(PARTNER_ADDRESS)
        client.rcpt(RECIPIENT)
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE + BODY)
        until(lambda: OutboxChunk.objects.filter(message__state=State.STORING).count() >= 2, 10)
        yield service, client


def kill(service: OwnService) -> None:
    process = service.process.process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def commit_waits(services) -> Iterator[psycopg.Connection]:
    """Whatever writes a chunk waits for the lock that this holds."""
    with contextlib.closing(superuser(services)) as holder:
        holder.execute("LOCK TABLE delivery_outboxchunk IN SHARE MODE")
        yield holder


def waits_for_the_lock(services) -> bool:
    with contextlib.closing(superuser(services)) as root:
        return root.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
            " AND relation = 'delivery_outboxchunk'::regclass"
        ).fetchone() == (1,)


def test_killed_while_the_content_comes_nothing_is_held(
    owner, app_password, scripted, post_office, round_number
):
    choose(owner, GatewayFailure.HOLD)
    with begun(scripted, post_office, app_password) as (service, client):
        assert not OutboxMessage.objects.exclude(state=State.STORING).exists()
        kill(service)
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            client.docmd(".")
    assert OutboxMessage.objects.get().state == State.STORING


def test_killed_before_the_commit_nothing_is_held(
    services, owner, app_password, scripted, post_office, round_number
):
    choose(owner, GatewayFailure.HOLD)
    with begun(scripted, post_office, app_password) as (service, client):
        with commit_waits(services):
            client.send(b".\r\n")
            until(lambda: waits_for_the_lock(services), 10)
            kill(service)
            with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
                client.getreply()
        until(lambda: not waits_for_the_lock(services), 10)
    assert OutboxMessage.objects.get().state == State.STORING


def test_killed_once_it_has_said_250_the_message_is_sent(
    owner, app_password, scripted, post_office, worker_here, round_number
):
    choose(owner, GatewayFailure.HOLD)
    with begun(scripted, post_office, app_password) as (service, client):
        client.send(b".\r\n")
        assert client.getreply()[0] == 250
        kill(service)
    assert OutboxMessage.objects.get().state == State.WAITING
    OutboxMessage.objects.update(next_attempt_at=Now())
    with scripted() as server:
        worker_here()
    assert server.dots == 1
    assert OutboxMessage.objects.get().state == State.SENT

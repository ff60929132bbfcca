"""kill -9 of the web process around the commit of a written message: stored once, whole, or not."""

import contextlib
import http.client
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from config.installation import LOOPBACK
from delivery.models import OutboxChunk, OutboxMessage
from delivery.sealing import CHUNK_BYTES
from tests.delivery.test_compose_page import CLAIRE, COMPOSE, content_of
from tests.ports import free_port
from tests.processes import Running, running, until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ROUNDS = [1, pytest.param(25, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
CHUNKS = 3
FILE = b"canary" * (2 * CHUNK_BYTES // 6 * 3 // 4)  # base64 makes more than two chunks of it


class Browser:
    """Posts one written message; `heard` is the answer's status, None where there was none."""

    def __init__(self, client: Client, owner) -> None:
        client.force_login(owner)
        client.get(COMPOSE)
        token = client.cookies["csrftoken"].value
        self._cookies = f"sessionid={client.cookies['sessionid'].value}; csrftoken={token}"
        self._typed = {
            "csrfmiddlewaretoken": token, "sender": owner.primary_address, "to": CLAIRE,
            "subject": "Offer", "text": "Text",
        }  # fmt: skip

    def post(self, port: int, number: UUID) -> None:
        self.heard = None
        attachments = [SimpleUploadedFile("canary.bin", FILE)]
        form = self._typed | {"number": str(number), "attachments": attachments}
        headers = {"Cookie": self._cookies, "Content-Type": MULTIPART_CONTENT, "Host": "localhost"}
        page = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
        with contextlib.closing(page), contextlib.suppress(http.client.HTTPException, OSError):
            page.request("POST", COMPOSE, encode_multipart(BOUNDARY, form), headers)
            self.heard = page.getresponse().status


@dataclass
class Web:
    process: Running
    port: int

    def kill(self) -> None:
        os.killpg(self.process.process.pid, signal.SIGKILL)
        self.process.process.wait()


@contextlib.contextmanager
def web() -> Iterator[Web]:
    port = free_port()
    command = [sys.executable, "-W", "ignore:No directory at", "-m", "granian"]
    command += ["--interface", "wsgi", "--no-ws", "--blocking-threads", "2", "--host", LOOPBACK]
    command += ["--port", str(port), "--workers-kill-timeout", "3", "config.wsgi:application"]
    # Its commits wait for what they are told to wait for: the tests' PostgreSQL is laxer.
    with running("web", command, {"PGOPTIONS": "-c synchronous_commit=on"}) as process:
        until(lambda: _answers(port), 30, lambda: process.output)
        yield Web(process, port)


def _answers(port: int) -> bool:
    page = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    with contextlib.closing(page), contextlib.suppress(OSError):
        page.request("GET", "/healthz", headers={"Host": "localhost"})
        return page.getresponse().status == 200
    return False


@contextlib.contextmanager
def superuser(services) -> Iterator[psycopg.Connection]:
    with contextlib.closing(
        psycopg.connect(
            host=str(services.sockets), user="postgres", dbname="outgate", autocommit=True
        )
    ) as connection:
        yield connection


def waiting(root: psycopg.Connection, event: str, query: str) -> list[int]:
    """The backends of the application that wait for `event` in a statement like `query`."""
    found = root.execute(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'outgate_app' AND wait_event = %s"
        " AND query ILIKE %s",
        [event, query],
    )
    return [pid for (pid,) in found]


@contextlib.contextmanager
def chunk_waits(root: psycopg.Connection, number: UUID, chunk: int) -> Iterator[None]:
    """Whoever stores this chunk waits: somebody else has stored it, and not committed."""
    with root.transaction(force_rollback=True):
        root.execute("SET LOCAL session_replication_role = replica")  # without its message
        root.execute(
            "INSERT INTO delivery_outboxchunk (message_id, number, is_last, key_id, ciphertext)"
            " VALUES (%s, %s, false, '', '')",
            [number, chunk],
        )
        yield


@contextlib.contextmanager
def commits_wait(services, root: psycopg.Connection) -> Iterator[None]:
    """A commit is written, and not answered: it waits for a standby that is not there."""

    def commit() -> None:
        with superuser(services) as probe:
            probe.execute("SET synchronous_commit TO on")
            probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')")

    root.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    root.execute("SELECT pg_reload_conf()")
    probes = []
    try:
        # Once one waits, those after it do.
        while not root.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        ).fetchone():
            probes.append(threading.Thread(target=commit))
            probes[-1].start()
            probes[-1].join(0.2)
        yield
    finally:
        root.execute("ALTER SYSTEM RESET synchronous_standby_names")
        root.execute("SELECT pg_reload_conf()")
        for probe in probes:
            probe.join(10)


@contextlib.contextmanager
def brought_to(step: str, services, posting: threading.Thread, number: UUID) -> Iterator[None]:
    """Let the message get so far; at the end its backend has ended, with what was held let go."""
    if step == "answered":
        posting.start()
        posting.join(20)
        yield
        return
    with (
        superuser(services) as holder,
        superuser(services) as root,
        contextlib.ExitStack() as commit,
    ):
        with chunk_waits(holder, number, 0 if step == "first chunk" else CHUNKS - 1):
            posting.start()
            until(lambda: waiting(root, "transactionid", 'INSERT INTO "delivery_outboxchunk"%'), 20)
            [backend] = waiting(root, "transactionid", "INSERT%")
            if step == "committed, not answered":
                commit.enter_context(commits_wait(services, root))
            else:
                yield
        if step == "committed, not answered":
            until(lambda: waiting(root, "SyncRep", "COMMIT%") == [backend], 20)
            yield
        commit.close()
        ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
        until(lambda: root.execute(ended, [backend]).fetchone()[0], 10)


STEPS = ("first chunk", "last chunk", "committed, not answered", "answered")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_killed_around_the_commit_a_written_message_is_stored_once_and_whole(
    services, client, owner, rounds
):
    browser = Browser(client, owner)
    trials = [(step, uuid4()) for _ in range(rounds) for step in STEPS]
    for step, number in trials:
        with web() as victim:
            posting = threading.Thread(target=browser.post, args=[victim.port, number])
            with brought_to(step, services, posting, number):
                victim.kill()
                posting.join(10)
        assert browser.heard == (302 if step == "answered" else None), step
        stored = OutboxMessage.objects.filter(pk=number).exists()
        assert stored == (step in ("committed, not answered", "answered")), step
        assert OutboxChunk.objects.filter(message_id=number).count() == CHUNKS * stored, step
    with web() as last:
        for step, number in trials:
            browser.post(last.port, number)
            assert browser.heard == 302, step
            assert_whole(OutboxMessage.objects.get(pk=number))
    assert OutboxMessage.objects.count() == len(trials)
    assert OutboxChunk.objects.count() == CHUNKS * len(trials)
    print(f"{len(trials)} trials: 0 lost, 0 stored twice, 0 stored in part")


def assert_whole(message: OutboxMessage) -> None:
    assert message.state == OutboxMessage.State.WAITING
    chunks = message.chunks.order_by("number").values_list("number", "is_last")
    assert list(chunks) == [(0, False), (1, False), (2, True)]
    content = content_of(message)
    assert len(content) == message.size
    assert b"canary.bin" in content

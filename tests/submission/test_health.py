"""What monitoring hears of the submission service."""

import smtplib
import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from delivery.models import OutboxMessage
from policies.models import RolloutWave
from tests.away import database_away
from tests.console.rows import save_value
from tests.processes import until
from tests.submission.nodes import node

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
MESSAGE = f"From: {PRIMARY}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n".encode()

pytestmark = pytest.mark.slow


@pytest.fixture(params=["1", "2"], ids=["alone", "two processes"])
def watched(request, post_office):
    with node(post_office, "--processes", request.param) as watched:
        until(lambda: watched.process.output.count("listens") == int(request.param), 20)
        yield watched


def test_what_is_carried_is_counted_over_all_processes(watched, post_office, app_password):
    refused = 0
    for _connection in range(6):
        with watched.connect() as client:
            if refused < 1:
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.login(PRIMARY, "wrong")
                refused += 1
            client.login(PRIMARY, app_password)
            client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
    assert watched.sample("outgate_sign_ins_total", outcome="accepted") == 6
    # smtplib tries both mechanisms.
    assert watched.sample("outgate_sign_ins_total", outcome="refused") == 2
    kinds = [
        watched.sample("outgate_upstream_connections_total", pool="default", kind=kind) or 0
        for kind in ("new", "kept")
    ]
    assert sum(kinds) == 6
    assert kinds[0] <= 2
    assert watched.sample("outgate_messages_total", route="default", outcome="accepted") == 6
    for step in ("decision", "start", "content", "log", "dot"):
        assert watched.sample("outgate_message_step_seconds_count", step=step) == 6
    assert watched.sample("outgate_message_step_seconds_count", step="connect") == kinds[0]
    assert watched.sample("outgate_sessions") == 0
    with watched.connect(), watched.connect():
        assert watched.sample("outgate_sessions") == 2
    expiry = watched.sample("outgate_certificate_expiry_timestamp_seconds")
    assert expiry > time.time()


def test_a_rollout_that_lags_and_a_message_that_waits_are_seen(watched, super_admin, organisation):
    name = "outgate_rollout_oldest_due_wave_seconds"
    assert watched.sample(name) == 0
    save_value(user=super_admin, unit=organisation.sales)
    RolloutWave.objects.update(due_at=Now())
    until(lambda: watched.sample(name) > 0, 5)
    RolloutWave.objects.update(applied_at=Now())
    assert watched.sample(name) == 0
    assert watched.sample("outgate_outbox_messages", state="held") == 0
    for minutes in (1, 2):
        OutboxMessage.objects.create(
            source="smtp", state="held", recipients=[], expires_at=Now() + timedelta(hours=1),
            created_at=Now() - timedelta(minutes=minutes),
        )  # fmt: skip
    assert watched.sample("outgate_outbox_messages", state="held") == 2
    assert 120 <= watched.sample("outgate_outbox_oldest_message_seconds", state="held") < 240
    assert watched.sample("outgate_outbox_messages", state="waiting") == 0


def test_it_is_alive_without_postgresql_and_not_ready(watched, services):
    assert watched.ask("/healthz") == (200, "ok\n")
    assert watched.ask("/readyz") == (200, "ok\n")
    with database_away(services):
        assert watched.ask("/healthz")[0] == 200
        assert watched.ask("/readyz") == (503, "PostgreSQL does not answer.\n")
        assert watched.sample("outgate_sessions") == 0
    assert watched.ask("/readyz")[0] == 200
    assert watched.ask("/")[0] == 404


def test_while_it_ends_it_is_not_ready(watched, post_office, app_password):
    client = watched.connect()
    client.login(PRIMARY, app_password)
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    client.docmd("DATA")
    client.send(MESSAGE)
    watched.process.process.terminate()
    until(lambda: watched.ask("/readyz") == (503, "The service is about to end.\n"), 5)
    client.send(b".\r\n")
    assert client.getreply()[0] == 250
    assert client.getreply()[0] == 421
    client.close()
    assert watched.process.process.wait(15) == 0


def test_it_is_off_unless_it_has_a_port(post_office):
    with node(post_office, OUTGATE_SUBMISSION_HEALTH_PORT="") as unwatched:
        assert unwatched.ask("/healthz") == (0, "")

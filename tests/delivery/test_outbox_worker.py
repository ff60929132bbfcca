"""Real workers, killed at each step: nothing is lost, and what may come twice is the same."""

import os
import signal
import threading
from contextlib import contextmanager

import pytest
import redis
from django.conf import settings as configured
from django.db import connection
from django.db.models.functions import Now

from delivery import tasks
from delivery.models import Delivery, OutboxMessage
from tests.delivery.outbox import content_for, put, state_of
from tests.monitoring import Monitored
from tests.ports import free_port
from tests.processes import BEAT, CELERY, WORKER, running, until

State = OutboxMessage.State
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

OUTBOX_WORKER = [*CELERY, "worker", "--queues", "outbox", "--concurrency", "1",
                 "--without-mingle", "--without-gossip", "--loglevel", "INFO"]  # fmt: skip
RESUMED_WITHIN = 120
ROUNDS = [1, *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 26))]


@pytest.fixture(autouse=True)
def empty_broker(relay):
    redis.Redis.from_url(configured.CELERY_BROKER_URL.replace("redis+socket", "unix")).flushall()


@contextmanager
def worker(relay, command=OUTBOX_WORKER, **settings):
    """One that has the scripted server as its relay."""
    environment = {"OUTGATE_RELAY_URL": f"smtp://127.0.0.1:{relay.port}"} | settings
    with running("outbox-worker", command, environment) as process:
        process.wait_for(r"\bready\.")
        yield process


def seconds_until_due() -> float:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM max(next_attempt_at) - now())::float"
            "  FROM delivery_outboxmessage WHERE state = 'sending'"
        )
        return cursor.fetchone()[0]


STEPS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content", "dot", "answered"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("round_number", ROUNDS)
def test_killed_at_any_step_the_message_is_sent_by_the_next_worker(owner, relay, round_number):
    """One message for each step; each worker first sends what the one before left behind."""
    messages = []
    for step in STEPS:
        with worker(relay) as victim:
            resume(messages, victim)

            def kill(reached: str, step=step, victim=victim) -> None:
                if reached == step and victim.process.poll() is None:
                    victim.kill()

            relay.reached.clear()
            relay.at = kill
            body = b"Text\r\n" * (500_000 if step == "content" else 1)  # leaves before its dot
            content = content_for(owner.primary_address, subject=step, body=body)
            messages.append(put(owner, content=content))
            tasks.deliver_outbox.delay()
            until(lambda victim=victim: victim.process.poll() is not None, 20)
        relay.at = lambda _step: None
        assert relay.reached[step] == 1
        # MAIL, RCPT and DATA come in one flight; that the server still answers means nothing.
        later = STEPS[max(STEPS.index(step), STEPS.index("DATA")) + 1 : -1]
        assert not [each for each in later if relay.reached[each]]
        if step != "answered":  # then the answer may just have been written down
            assert state_of(messages[-1]) == State.SENDING
            assert 0 < seconds_until_due() < RESUMED_WITHIN
    with worker(relay) as last:
        resume(messages, last)
    for message, step in zip(messages, STEPS, strict=True):
        came = [taken for taken in relay.taken if f"Subject: {step}".encode() in taken.header]
        states = [row.state for row in message.deliveries.order_by("created_at")]
        assert states[-1] == Delivery.State.DELIVERED
        # Twice at most, with the same Message-ID, and the log says so.
        assert len(came) == (2 if step == "dot" else len(states)) <= 2
        assert all(taken == came[0] for taken in came)
        assert states[:-1] == [Delivery.State.HANDING_OVER] * (len(came) - 1)
        assert not message.chunks.exists()


def resume(messages, process) -> None:
    """As if the time of the dead worker's claims had passed."""
    OutboxMessage.objects.filter(state=State.SENDING).update(next_attempt_at=Now())
    tasks.deliver_outbox.delay()
    until(lambda: all(state_of(message) == State.SENT for message in messages), 20,
          lambda: process.output)  # fmt: skip


def test_workers_killed_at_random_under_load_lose_nothing(owner, relay):
    messages = [put(owner, subject=f"number-{number}") for number in range(400)]
    killed_at = []
    for _ in range(3):
        with worker(relay) as victim:
            stop_at = len(relay.taken) + 60

            def kill(step: str, victim=victim, stop_at=stop_at) -> None:
                if len(relay.taken) >= stop_at and victim.process.poll() is None:
                    victim.kill()
                    killed_at.append(step)

            relay.at = kill
            tasks.deliver_outbox.delay()
            until(lambda victim=victim: victim.process.poll() is not None, 30)
        OutboxMessage.objects.filter(state=State.SENDING).update(next_attempt_at=Now())
    relay.at = lambda _step: None
    with worker(relay) as last:
        tasks.deliver_outbox.delay()
        until(
            lambda: not OutboxMessage.objects.exclude(state=State.SENT).exists(),
            30,
            lambda: last.output,
        )
    assert len(killed_at) >= 3
    assert set(killed_at) <= set(STEPS)
    came = [taken.header for taken in relay.taken]
    assert len(set(came)) == len(messages)
    unsettled = Delivery.objects.filter(state=Delivery.State.HANDING_OVER).count()
    assert len(came) - len(messages) <= unsettled


def test_what_a_worker_does_is_counted_over_its_processes_and_their_ends(owner, relay):
    answer = threading.Event()
    relay.at = lambda step: step != "dot" or answer.wait(30)
    watched = Monitored(free_port())
    with worker(relay, OUTGATE_CELERY_HEALTH_PORT=str(watched.health_port)) as process:
        first = put(owner)
        tasks.deliver_outbox.delay()
        until(lambda: relay.reached["dot"], 20)
        assert watched.sample("outgate_outbox_under_way") == 1
        [carrying] = process.children()
        os.kill(carrying, signal.SIGKILL)
        until(lambda: watched.sample("outgate_outbox_under_way") == 0, 20)
        answer.set()
        resume([first], process)
        relay.answers["nobody@customer.example"] = b"550 5.1.1 Nobody\r\n"
        refused = put(owner, recipients=["nobody@customer.example"])
        tasks.deliver_outbox.delay()
        # Its author gets a report, by the outbox as well.
        until(lambda: state_of(refused) == State.FAILED and not under_way(), 20)
        until(lambda: watched.sample("outgate_outbox_under_way") == 0, 5)
        for outcome, times in (("sent", 2), ("failed", 1)):
            labels = {"route": "default", "outcome": outcome}
            assert watched.sample("outgate_outbox_attempts_total", **labels) == times
        for step, times in (("start", 3), ("content", 3), ("log", 3), ("dot", 2)):
            assert watched.sample("outgate_message_step_seconds_count", step=step) == times, step
        made, kept = (
            watched.sample("outgate_upstream_connections_total", pool="default", kind=kind)
            for kind in ("new", "kept")
        )
        assert made + kept == 3  # what is refused is not started
        ran = {"task": "delivery.tasks.deliver_outbox", "outcome": "success"}
        until(lambda: watched.sample("outgate_tasks_total", **ran) >= 2, 5)


def test_a_worker_that_is_asked_to_stop_says_so_and_ends_what_it_has(owner, relay):
    answer = threading.Event()
    relay.at = lambda step: step != "dot" or answer.wait(30)
    watched = Monitored(free_port())
    with worker(relay, OUTGATE_CELERY_HEALTH_PORT=str(watched.health_port)) as process:
        message = put(owner)
        tasks.deliver_outbox.delay()
        until(lambda: relay.reached["dot"], 20)
        process.process.terminate()
        until(lambda: watched.ask("/readyz") == (503, "It is about to end.\n"), 10)
        assert watched.ask("/healthz") == (200, "ok\n")
        answer.set()
        assert process.process.wait(15) == 0
    assert state_of(message) == State.SENT
    assert len(relay.taken) == 1


def under_way() -> bool:
    return OutboxMessage.objects.filter(state__in=OutboxMessage.UNDER_WAY).exists()


def test_beat_finds_what_waits(owner, relay):
    message = put(owner)
    with worker(relay, [*WORKER, "--queues", "celery,outbox"]), running("beat", BEAT):
        until(lambda: state_of(message) == State.SENT, 30)


def test_two_workers_send_each_message_once(owner, relay):
    for number in range(300):
        put(owner, subject=f"number-{number}")
    with worker(relay, [*WORKER, "--queues", "outbox"]) as process:
        for _ in range(4):
            tasks.deliver_outbox.delay()
        until(
            lambda: not OutboxMessage.objects.exclude(state=State.SENT).exists(),
            30,
            lambda: process.output,
        )
    assert len({taken.header for taken in relay.taken}) == len(relay.taken) == 300

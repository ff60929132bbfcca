"""What monitoring hears of a real worker and a real beat."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from django.conf import settings as configured

from tests.away import database_away
from tests.monitoring import Monitored
from tests.ports import free_port
from tests.processes import BEAT, WORKER, Running, running, until
from tests.services import DATA_DIR
from tests.silent import stopped_postgresql

SILENT_SECONDS = 3
NO_POSTGRESQL = (503, "PostgreSQL does not answer.\n")
NO_REDIS = (503, "Redis does not answer.\n")
WELL = (200, "ok\n")
STANDS_STILL = "Nothing has moved here for"
NO_PROCESS = "None of the processes"

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@dataclass
class Watched(Monitored):
    """A worker or beat."""

    process: Running


@contextlib.contextmanager
def both(**settings: str) -> Iterator[list[Watched]]:
    """A worker and beat, once they answer."""
    with contextlib.ExitStack() as stack:
        watched = []
        for name, command in (("worker", WORKER), ("beat", BEAT)):
            port = free_port()
            own = {
                "OUTGATE_CELERY_HEALTH_PORT": str(port),
                "OUTGATE_CELERY_SILENT_SECONDS": str(SILENT_SECONDS),
                "TMPDIR": str(DATA_DIR),  # for what a kill leaves behind
            }
            watched.append(
                Watched(port, stack.enter_context(running(name, command, own | settings)))
            )
        until(lambda: all(each.ask("/healthz")[0] for each in watched), 20)
        yield watched


@pytest.fixture
def broker(services) -> redis.Redis:
    client = redis.Redis.from_url(configured.CELERY_BROKER_URL.replace("redis+socket", "unix"))
    client.flushall()
    return client


@pytest.fixture
def watched(broker) -> Iterator[list[Watched]]:
    with both() as watched:
        watched[0].process.wait_for(r"\bready\.")
        yield watched


@contextlib.contextmanager
def silent(broker: redis.Redis) -> Iterator[None]:
    """Redis takes connections, and says nothing."""
    number = broker.info("server")["process_id"]
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(number, signal.SIGCONT)


@contextlib.contextmanager
def taking_nothing(broker: redis.Redis) -> Iterator[None]:
    """Redis answers, but keeps whoever writes waiting: loops stand still."""
    broker.client_pause(60_000, all=False)
    try:
        yield
    finally:
        broker.client_unpause()


def all_answer(
    watched: list[Watched], path: str, expected: tuple[int, str], seconds: float = 15
) -> None:
    def answers() -> list[tuple[int, str]]:
        return [each.ask(path) for each in watched]

    until(lambda: answers() == [expected] * len(watched), seconds, lambda: str(answers()))


def have_been_silent(watched: list[Watched]) -> bool:
    found = [each.sample("outgate_celery_silent_seconds") for each in watched]
    return all(seconds and seconds > SILENT_SECONDS for seconds in found)


def test_what_is_away_is_told_and_is_no_reason_to_start_them_again(services, broker, watched):
    all_answer(watched, "/readyz", WELL)
    all_answer(watched, "/healthz", WELL)
    with database_away(services):
        all_answer(watched, "/readyz", NO_POSTGRESQL)
        all_answer(watched, "/healthz", WELL)
    with stopped_postgresql(services):
        all_answer(watched, "/readyz", NO_POSTGRESQL)
        all_answer(watched, "/healthz", WELL)
    with silent(broker):
        all_answer(watched, "/readyz", NO_REDIS)
        until(lambda: have_been_silent(watched), 10)
        all_answer(watched, "/healthz", WELL)
    all_answer(watched, "/readyz", WELL)
    all_answer(watched, "/healthz", WELL)


def test_what_stands_still_while_redis_answers_is_not_well(broker, watched):
    worker, beat = watched
    with taking_nothing(broker):
        for each in watched:
            until(lambda each=each: STANDS_STILL in each.ask("/healthz")[1], 20)
        all_answer(watched, "/readyz", WELL)
        # Nobody puts others in their place now.
        for number in worker.process.children():
            os.kill(number, signal.SIGKILL)
        until(lambda: NO_PROCESS in worker.ask("/healthz")[1], 5)
        assert worker.ask("/healthz")[0] == beat.ask("/healthz")[0] == 503
    all_answer(watched, "/healthz", WELL)


def test_without_redis_from_the_start_they_are_alive_and_not_ready(services):
    with both(REDIS_URL="redis://127.0.0.1:1") as watched:
        all_answer(watched, "/readyz", NO_REDIS)
        until(lambda: have_been_silent(watched), 10)
        all_answer(watched, "/healthz", WELL)
        for each in watched:
            each.process.kill()  # a worker that looks for Redis takes its time to stop


def test_a_taken_port_is_told_and_ends_them(broker):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        own = {"OUTGATE_CELERY_HEALTH_PORT": str(port)}
        with running("worker", WORKER, own) as worker, running("beat", BEAT, own) as beat:
            for process in (worker, beat):
                assert process.process.wait(20) != 0
                assert f"can't be answered at 127.0.0.1:{port}" in process.output

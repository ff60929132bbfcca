"""The outbox with many messages waiting: a claim, messages a second, and workers killed at random.

`python -m bench.outbox` takes these figures alone.
"""

import asyncio
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench.figures import Figure, print_table
from bench.outgate import environment_of
from bench.parts import LOOPBACK, BenchError, daemon, free_ports, remove_engines, run
from config.children import kill_group
from config.embedded import OWNER_ROLE, Engines, engine_environment, place_engines

WAITING = 200_000  # more than are sent until the last kill
SPEED_SECONDS = 30.0  # this, and the kills, with WAITING messages; with fewer in proportion
KILLS = 10
KILL_SECONDS = (2.0, 5.0)  # of work between two of them
RESUME_SECONDS = 120.0
END = b"\r\n.\r\n"
MESSAGE_ID = re.compile(rb"^Message-ID: <(\d+)@", re.MULTILINE)


class Sink(asyncio.Protocol):
    """The organisation's relay: takes all, and counts each message by its Message-ID."""

    taken: Counter[bytes] = Counter()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._data, self._in_content = b"", False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._data += data
        while found := self._next():
            self._transport.write(found)

    def _next(self) -> bytes:
        content, end, rest = self._data.partition(END if self._in_content else b"\r\n")
        if not end:
            return b""
        self._data = rest
        if self._in_content:
            self._in_content = False
            Sink.taken[MESSAGE_ID.findall(content)[0]] += 1
            return b"250 2.0.0 relayed\r\n"
        verb = content[:4].upper()
        self._in_content = verb == b"DATA"
        if verb == b"EHLO":
            return b"250-sink\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250 8BITMIME\r\n"
        return b"354 go on\r\n" if self._in_content else b"250 2.0.0 ok\r\n"


@contextmanager
def sink(port: int) -> Iterator[None]:
    Sink.taken.clear()
    loop = uvloop.new_event_loop()
    loop.run_until_complete(loop.create_server(Sink, LOOPBACK, port, backlog=1024))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def outbox_figures(folder: Path, *, waiting: int = WAITING) -> list[Figure]:
    folder.mkdir(mode=0o711)
    [port] = free_ports(1)
    engines = place_engines(folder)
    engines.prepare()
    environment = environment_of(folder, engines) | {
        "OUTGATE_RELAY_URL": f"smtp://{LOOPBACK}:{port}",
    }
    with ExitStack() as stack:
        stack.callback(remove_engines, engines)
        stack.enter_context(sink(port))
        for command, answers, stop_signal in (
            (engines.postgres_command(), engines.postgres_answers, signal.SIGINT),
            (engines.valkey_command(), engines.valkey_answers, signal.SIGTERM),
        ):
            stack.enter_context(
                daemon(
                    command,
                    folder / f"{Path(command[0]).name}.log",
                    answers,
                    environment=engine_environment(),
                    user=engines.user,
                    stop_signal=stop_signal,
                )
            )
        engines.create_database()
        run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], environment)
        rows = [sys.executable, "-m", "bench.outbox_rows"]
        claims = json.loads(run(rows, environment, input=json.dumps({"waiting": waiting})))[
            "claims"
        ]
        return [
            Figure(
                f"outbox: one claim of 50 while {waiting:,} wait", "ms",
                [seconds * 1000 for seconds in claims], 100, lower_is_better=True,
            ),
            *Trial(engines, folder, environment, waiting).figures(),
        ]  # fmt: skip


class Trial:
    """Workers and beat on a full outbox."""

    def __init__(
        self, engines: Engines, folder: Path, environment: dict[str, str], waiting: int
    ) -> None:
        self._folder = folder
        self._seconds = SPEED_SECONDS * waiting / WAITING
        self._kills = max(1, KILLS * waiting // WAITING)
        self._environment = environment
        self._database = psycopg.connect(
            host=str(engines.sockets), user=OWNER_ROLE, dbname="outgate", autocommit=True
        )

    def figures(self) -> list[Figure]:
        self._database.execute("ANALYZE delivery_outboxmessage, delivery_outboxchunk")
        with self._celery("beat", "--pidfile", ""):
            speed = self._speed()
            interrupted = self._kill_at_random()
            resumed = self._resume()
        sent = self._count("state = 'sent'")
        lost = sent - len(Sink.taken)
        twice = Sink.taken.total() - len(Sink.taken)
        log = f"{self._kills} kills, {interrupted} messages under way at a kill"
        return [
            Figure("outbox: messages a second, 2 processes", "/s", [speed], 200),
            Figure("outbox: lost", "", [float(max(lost, 0))], 0, lower_is_better=True, reason=log),
            Figure(
                "outbox: sent twice, within the gap of RFC 1047", "", [float(twice)],
                float(interrupted), lower_is_better=True, reason=log,
            ),
            Figure(
                "outbox: until the last of a killed worker is sent", "s", [resumed],
                RESUME_SECONDS, lower_is_better=True,
            ),
        ]  # fmt: skip

    @contextmanager
    def _celery(self, *arguments: str) -> Iterator[int]:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "celery",
            "-A",
            "config",
            *arguments,
            "--loglevel",
            "INFO",
        ]
        log = self._folder / f"{arguments[0]}-{time.time_ns()}.log"
        ready = {"worker": " ready.", "beat": "tarting"}[arguments[0]]
        environment = self._environment | {"PYTHONUNBUFFERED": "1"}
        with daemon(
            command,
            log,
            lambda: ready in log.read_text(),
            environment=environment,
        ) as process:
            yield process

    def _worker(self) -> Any:
        return self._celery(
            "worker", "--queues", "celery,outbox", "--concurrency", "2", "--without-mingle"
        )

    def _speed(self) -> float:
        with self._worker():
            self._until_taken(1)
            before, started = len(Sink.taken), time.monotonic()
            time.sleep(self._seconds)
            return (len(Sink.taken) - before) / (time.monotonic() - started)

    def _kill_at_random(self) -> int:
        """How many messages were under way when their worker was killed."""
        interrupted = 0
        for _ in range(self._kills):
            before = len(Sink.taken)
            with self._worker() as process:
                self._until_taken(before + 50)
                time.sleep(random.uniform(*KILL_SECONDS))  # noqa: S311  (no secret)
                kill_group(process)
            interrupted += self._count("state = 'sending' AND next_attempt_at > now()+'45 s'")
        return interrupted

    def _until_taken(self, number: int) -> None:
        """Raises BenchError where that does not come, as when too few messages wait."""
        deadline = time.monotonic() + RESUME_SECONDS
        while len(Sink.taken) < number:
            if time.monotonic() > deadline:
                raise BenchError(f"The outbox stands still: {len(Sink.taken)} messages are sent.")
            time.sleep(0.01)

    def _resume(self) -> float:
        """Seconds until nothing of a dead worker's is left; what nobody had waits on."""
        self._database.execute(
            "UPDATE delivery_outboxmessage SET next_attempt_at = now() + '1 day'"
            " WHERE state = 'waiting'"
        )
        started = time.monotonic()
        with self._worker():
            while self._count("state = 'sending'"):
                if time.monotonic() > started + 2 * RESUME_SECONDS:
                    raise BenchError("Messages of a killed worker were not taken up again.")
                time.sleep(0.5)
        return time.monotonic() - started

    def _count(self, condition: str) -> int:
        query = f"SELECT count(*) FROM delivery_outboxmessage WHERE {condition}"  # noqa: S608
        row = self._database.execute(query).fetchone()
        assert row  # noqa: S101  (count(*) has one)
        return int(row[0])


def main() -> None:
    # Not the folder for short-lived files, which may lie in memory: a real one syncs to a disk.
    folder = Path(tempfile.mkdtemp(prefix="outgate-bench-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        figures = outbox_figures(folder / "outbox")
    finally:
        shutil.rmtree(folder)
    print_table([[each.name, each.text, each.unit, each.verdict, each.reason] for each in figures])


if __name__ == "__main__":
    main()

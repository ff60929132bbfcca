"""Outgate's own processes as children of a test: started, waited for, stopped by their number.

with running("worker", CELERY + ["worker"]) as worker:
    worker.wait_for("ready.")
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from config.children import kill_group, spawn_options
from tests.services import DATA_DIR

CHECKOUT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, "manage.py"]
CELERY = [sys.executable, "-m", "celery", "--app", "config"]
WORKER = [*CELERY, "worker", "--concurrency", "2", "--without-mingle", "--loglevel", "INFO"]
BEAT = [*CELERY, "beat", "--pidfile", ""]
START_SECONDS = 30
STOP_SECONDS = 15


class Running:
    """A child process and what it has written, both streams together."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.log = DATA_DIR / f"{name}-{time.time_ns()}.log"
        # Lines are waited for, so none may sit in a buffer (beat prints that it starts).
        options = spawn_options(
            stop_signal=signal.SIGTERM,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
            cwd=str(CHECKOUT),
        )
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, **options)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """The first match of `pattern` in its output, once it is there."""
        until(lambda: self._ended() or re.search(pattern, self.output), seconds, self.log.read_text)
        found = re.search(pattern, self.output)
        if found is None:
            raise AssertionError(f"It ended without writing {pattern!r}:\n{self.output}")
        return found

    def children(self) -> list[int]:
        number = self.process.pid
        words = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return [int(word) for word in words]

    def stop(self) -> None:
        """Ask it to stop, and kill it with all it started where it does not."""
        if self._ended():
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it, and what it started, with no chance to finish anything."""
        kill_group(self.process.pid)
        self.process.wait()

    def _ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def running(
    name: str, command: list[str], environment: dict[str, str] | None = None
) -> Iterator[Running]:
    child = Running(name, command, environment or {})
    try:
        yield child
    finally:
        child.stop()


def until(
    true: Callable[[], object], seconds: float, what: Callable[[], str] = lambda: ""
) -> float:
    """Ask again and again; how many seconds it took. `what` tells why where it never is."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"Not so after {seconds:g} s. {what()}")
        time.sleep(0.05)
    return time.monotonic() - started

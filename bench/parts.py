"""Processes that the bench starts and ends."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from config.children import kill_group, spawn_options
from config.embedded import Engines

CHECKOUT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 15.0


class BenchError(Exception):
    """A figure can't be taken; the text says why."""


class Talker:
    """A module of the bench as a process: told and heard by lines of JSON; ends with its input."""

    def __init__(self, module: str, first: dict[str, Any]) -> None:
        options = spawn_options(stop_signal=signal.SIGKILL, env=dict(os.environ), cwd=str(CHECKOUT))
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdout=subprocess.PIPE,
            text=True,
            **(options | {"stdin": subprocess.PIPE}),
        )
        self.tell(first)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, what: object) -> None:
        assert self._process.stdin  # noqa: S101  (opened above)
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Its next line. Raises BenchError where it has ended, or says that it failed."""
        assert self._process.stdout  # noqa: S101  (opened above)
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._module} ended: see its lines above.")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise BenchError(f"{self._module}: {said['error']}")
        return said

    def ask(self, what: object) -> dict[str, Any]:
        self.tell(what)
        return self.hear()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        end(self._process, signal.SIGTERM)


@contextlib.contextmanager
def talker(module: str, first: dict[str, Any]) -> Iterator[Talker]:
    part = Talker(module, first)
    try:
        yield part
    finally:
        part.close()


@contextlib.contextmanager
def daemon(
    command: list[str],
    log: Path,
    answers: Callable[[], bool],
    *,
    environment: dict[str, str],
    user: pwd.struct_passwd | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator[int]:
    """Run a server from the moment it answers; gives its process number."""
    cwd = "/" if user else str(CHECKOUT)
    options = spawn_options(stop_signal=stop_signal, env=environment, cwd=cwd, user=user)
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        end(process, stop_signal)


def end(process: subprocess.Popen[Any], stop_signal: signal.Signals) -> None:
    """Ask it to stop; kill it where it does not, and what it leaves of its process group."""
    process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    kill_group(process.pid)
    process.wait()


def remove_engines(engines: Engines) -> None:
    """The database's folders, which may lie elsewhere than the data folder they belong to."""
    for folder in (engines.sockets, engines.home):
        shutil.rmtree(folder, ignore_errors=True)


def run(command: list[str], environment: dict[str, str], **options: Any) -> str:
    """Run a command to its end and return what it printed. Raises BenchError where it fails."""
    done = subprocess.run(
        command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, **options
    )
    if done.returncode:
        raise BenchError(f"{command[:3]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return str(done.stdout)


def free_ports(count: int) -> list[int]:
    opened = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    numbers = [each.getsockname()[1] for each in opened]
    for each in opened:
        each.close()
    return numbers


def answers_at(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True

"""The tests' PostgreSQL and Valkey, and the environment that settings are read from.

Loaded by `-p tests.services` before Django's settings are: importing it sets the environment.
Every run has a folder of its own, so that two runs do not meet. The engines start with the
first test that asks for the `services` fixture; tests of plain Python never pay for them.
"""

import atexit
import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.children import kill_group, spawn_options
from config.embedded import (
    APPLICATION_ROLE,
    OWNER_ROLE,
    Engines,
    engine_environment,
    place_engines,
)

# TMPDIR may be too deep for a unix socket; place_engines copes, and says where they are.
DATA_DIR = Path(tempfile.mkdtemp(prefix="outgate-test-"))
# Root's engines run as another user, who has to pass through.
DATA_DIR.chmod(0o711)
ENGINES = place_engines(DATA_DIR, durable=False)
START_SECONDS = 30


@atexit.register
def _remove_folders() -> None:
    """At the very end, also where the run ends before its first test."""
    for folder in {ENGINES.sockets, ENGINES.home, DATA_DIR}:
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": ENGINES.database_url(APPLICATION_ROLE),
        "MIGRATE_DATABASE_URL": ENGINES.database_url(OWNER_ROLE),
        "REDIS_URL": ENGINES.redis_url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "OUTGATE_CREDENTIAL_KEYS": "test:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "OUTGATE_RELAY_URL": "smtp://localhost:2525",
        "OUTGATE_DATA_DIR": str(DATA_DIR),
        "OUTGATE_FIND_SETTINGS": "false",
        # Less than a child has to end (tests/processes.py).
        "OUTGATE_SUBMISSION_DRAIN_SECONDS": "8",
        "OUTGATE_EGRESS_NETWORKS": "127.0.0.0/8,::1/128",
    }


# What the caller's shell says about an installation must not reach the tests.
for _name in [name for name in os.environ if name.startswith("OUTGATE_")]:
    del os.environ[_name]
os.environ.update(_environment())


@contextlib.contextmanager
def engine(
    command: list[str], stop_signal: signal.Signals, answers: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one engine, once it answers; its own words are in the error if it ends instead."""
    log = DATA_DIR / f"{Path(command[0]).name}.log"
    options = spawn_options(
        stop_signal=stop_signal, env=engine_environment(), cwd="/", user=ENGINES.user
    )
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        wait_for(process, log, answers)
        yield process
    finally:
        stop(process, stop_signal)


def wait_for(process: subprocess.Popen[bytes], log: Path, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"An engine did not start:\n{log.read_text()}")
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        process.wait()


@pytest.fixture(scope="session")
def services() -> Iterator[Engines]:
    """PostgreSQL with both roles and an empty database, and Valkey, until the session ends."""
    ENGINES.prepare()
    with (
        engine(ENGINES.postgres_command(), signal.SIGINT, ENGINES.postgres_answers),
        engine(ENGINES.valkey_command(), signal.SIGTERM, ENGINES.valkey_answers),
    ):
        ENGINES.create_database()
        yield ENGINES

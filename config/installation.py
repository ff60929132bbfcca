"""One copy of `make up`: its data folder, ports and secrets, and that nobody else uses them."""

import base64
import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from config.children import StartError

CHECKOUT = Path(__file__).resolve().parent.parent
HOST = "localhost"
LOOPBACK = "127.0.0.1"
PORTS = {
    "OUTGATE_HTTP_PORT": 8000,
    "OUTGATE_SUBMISSION_PORT": 1587,
    "OUTGATE_SUBMISSIONS_PORT": 1465,
    "OUTGATE_DEMO_OURS_PORT": 2525,
    "OUTGATE_DEMO_PARTNER_PORT": 2587,
}
# In every child's environment: how the next start knows what a killed one left behind.
MARK = "OUTGATE_SUPERVISED"
LOCK_SECONDS = 4  # a copy that was just told to stop gets so long
LEFTOVER_SECONDS = 5


@dataclasses.dataclass(frozen=True)
class Secrets:
    """What is made once per data folder."""

    secret_key: str = dataclasses.field(repr=False)
    credential_keys: str = dataclasses.field(repr=False)
    partner_password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Installation:
    data_dir: Path
    ports: Mapping[str, int]

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.ports['OUTGATE_HTTP_PORT']}"

    @property
    def demo_json(self) -> Path:
        return self.data_dir / "demo.json"

    @property
    def sign_ins(self) -> Path:
        """The demo accounts' passwords, by address; `seed_demo` writes it."""
        return self.data_dir / "sign-ins.json"

    def maildir(self, server: str) -> Path:
        """Where the demo server `ours` or `partner` keeps what it got."""
        return self.data_dir / "demo" / server

    def secrets(self) -> Secrets:
        path = self.data_dir / "secrets.json"
        if not path.exists():
            write_private(path, json.dumps(dataclasses.asdict(_new_secrets())))
        return Secrets(**json.loads(path.read_text()))


def read_installation(environment: Mapping[str, str]) -> Installation:
    """Raises StartError for a port that is no number."""
    data_dir = Path(environment.get("OUTGATE_DATA_DIR") or CHECKOUT / "var").resolve()
    ports = {name: _port(name, environment.get(name) or default) for name, default in PORTS.items()}
    return Installation(data_dir, ports)


def _port(name: str, text: str | int) -> int:
    with contextlib.suppress(ValueError):
        if 0 < int(text) < 65536:
            return int(text)
    raise StartError(f"{name} is {text!r}: set it to a port number from 1 to 65535.")


def _new_secrets() -> Secrets:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return Secrets(secrets.token_urlsafe(48), f"1:{key}", secrets.token_urlsafe(12))


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)


@contextlib.contextmanager
def occupied(installation: Installation) -> Iterator[None]:
    """Hold the data folder; by then nothing of an earlier run is alive and all ports are free.

    Raises StartError, with nothing started, where another copy or program is in the way.
    """
    with _locked(installation.data_dir):
        installation.demo_json.unlink(missing_ok=True)
        _end_leftovers(installation.data_dir)
        _check_ports(installation.ports)
        try:
            yield
        finally:
            installation.demo_json.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    # Root's engines run as another user, who has to pass through to his own folder.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        data_dir.mkdir(mode=mode, parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as error:
        raise StartError(
            f"The data folder {data_dir} cannot be used ({error.strerror}): "
            "set OUTGATE_DATA_DIR to another folder."
        ) from error
    with lock:
        if not _take(lock.fileno()):
            raise StartError(
                f"Another `make up` uses the data folder {data_dir}: "
                "stop that one, or set OUTGATE_DATA_DIR to another folder."
            )
        yield


def _take(lock: int) -> bool:
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.1)
    return False


def _end_leftovers(data_dir: Path) -> None:
    """Wait for the children of a run that was killed; those that stay are killed as well."""
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while (left := leftovers(data_dir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def leftovers(data_dir: Path) -> list[int]:
    """The processes that a supervisor of this data folder started, by their environment."""
    mark = f"{MARK}={data_dir}".encode()
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and mark in _environment_of(process)
    ]


def _environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # another user's, or just ended: none of ours


def _check_ports(ports: Mapping[str, int]) -> None:
    with contextlib.ExitStack() as opened:
        for name, port in ports.items():
            try:
                opened.enter_context(socket.create_server((LOOPBACK, port)))
            except OSError as error:
                raise StartError(
                    f"Port {port} cannot be opened ({error.strerror}): set {name} to a free port."
                ) from error

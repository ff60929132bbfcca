"""Large messages at once: what the service holds of them, with its upstream quick or slow."""

import smtplib
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import pytest

from tests.submission.own_service import PRIMARY, OwnService, own_service
from tests.submission.upstream import Upstream

RECIPIENT = "claire@customer.example"
HEADER = f"From: {PRIMARY}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\n".encode()
LINE = b"x" * 998 + b"\r\n"
PIECE = LINE * 250  # a quarter of a megabyte

pytestmark = pytest.mark.slow


def send_large(service: OwnService, password: str, number: int, megabytes: int) -> int:
    """How often the client was told to try again: not all have a place upstream at once."""
    with service.connect(source=f"127.0.3.{1 + number // 40}") as client:
        client.sock.settimeout(300)
        client.login(PRIMARY, password)
        for again in range(20):
            code, text = send_once(client, megabytes)
            if code == 250:
                return again
            assert (code, b"4.4.5" in text) == (451, True)
    raise AssertionError("It never had a place.")


def send_once(client: smtplib.SMTP, megabytes: int) -> tuple[int, bytes]:
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    assert client.docmd("DATA")[0] == 354
    assert client.sock
    client.sock.sendall(HEADER)
    for _quarter in range(megabytes * 4):
        client.sock.sendall(PIECE)
    client.sock.sendall(b".\r\n")
    return client.getreply()


class Peak:
    """Watches a service's memory while it works."""

    def __init__(self, service: OwnService) -> None:
        self._service = service
        self._ended = Event()
        self._thread = Thread(target=self._watch)
        self.megabytes = 0.0

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self.megabytes = max(self.megabytes, self._service.resident_megabytes)


@pytest.mark.parametrize(
    ("count", "megabytes", "growth"),
    [
        (20, 2, 60),
        pytest.param(200, 25, 200, marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_messages_at_once_are_not_held(post_office, app_password, count, megabytes, growth):
    upstream = Upstream(post_office.upstream_port, post_office.certificate)
    relay = f"smtps://localhost:{upstream.port}"
    with upstream, own_service(post_office, OUTGATE_RELAY_URL=relay) as service:
        send_large(service, app_password, 0, 1)  # what grows once has grown
        before = service.resident_megabytes
        begun = time.monotonic()
        with Peak(service) as peak, ThreadPoolExecutor(count) as pool:
            again = list(pool.map(
                lambda number: send_large(service, app_password, number, megabytes), range(count)
            ))  # fmt: skip
        seconds = time.monotonic() - begun
    print(
        f"{count} messages of {megabytes} MB in {seconds:.0f} s: {before:.0f} MB -> "
        f"{peak.megabytes:.0f} MB, {(peak.megabytes - before) * 1024 / count:.0f} kB each; "
        f"{sum(again)} times told to try again"
    )
    assert upstream.dots == count + 1
    assert peak.megabytes - before <= growth

"""Many mail programs that are signed in and quiet: what they cost, and what others notice."""

import contextlib
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.submission.own_service import PRIMARY, OwnService, own_service

PER_ADDRESS = 50  # what the service lets one address have
MESSAGE = f"From: {PRIMARY}\r\nTo: claire@customer.example\r\nSubject: x\r\n\r\nText\r\n".encode()

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def open_files(count: int) -> Iterator[None]:
    """How many this process may have open, and what it starts at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_sessions(service: OwnService, password: str, count: int) -> list:
    def session(number: int):
        client = service.connect(
            source=f"127.0.{1 + number // PER_ADDRESS // 250}.{1 + number // PER_ADDRESS % 250}"
        )
        client.login(PRIMARY, password)
        return client

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(session, range(count)))


def send_times(service: OwnService, password: str, count: int) -> list[float]:
    """Seconds from MAIL to the reply behind the final dot, sorted."""
    times = []
    with service.sign_in(password) as client:
        for _ in range(count):
            begun = time.monotonic()
            client.sendmail(PRIMARY, ["claire@customer.example"], MESSAGE)
            times.append(time.monotonic() - begun)
    return sorted(times)


@pytest.mark.parametrize(
    ("count", "megabytes"),
    [
        (300, 120),
        pytest.param(1_000, 120, marks=pytest.mark.soak),
        pytest.param(10_000, 800, marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_idle_sessions_cost_little(post_office, app_password, count, megabytes):
    with contextlib.ExitStack() as stack:
        # It starts with room for less, and has to see to that itself.
        with open_files(200):
            service = stack.enter_context(own_service(post_office))
        stack.enter_context(open_files(count + 1_000))
        send_times(service, app_password, 5)  # what grows once has grown
        before = service.resident_megabytes
        begun = time.monotonic()
        sessions = open_sessions(service, app_password, count)
        opened = time.monotonic() - begun
        times = send_times(service, app_password, 200 if count > 1_000 else 20)
        after = service.resident_megabytes
        assert all(client.noop()[0] == 250 for client in sessions[:: max(1, count // 100)])
        for client in sessions:
            client.sock.close()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(
        f"{count} sessions in {opened:.0f} s: {before:.0f} MB -> {after:.0f} MB, "
        f"{(after - before) * 1024 / count:.0f} kB each; "
        f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    )
    assert after <= megabytes
    assert p99 < 1

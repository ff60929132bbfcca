"""A disk that is full, a Redis that is away, no place left upstream: 4xx, and never a 250."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery
from tests.processes import until
from tests.services import DATA_DIR
from tests.submission.conftest import give_scripted_gateway
from tests.submission.own_service import PRIMARY, OwnService, own_service
from tests.submission.upstream import Upstream

RECIPIENT = "claire@customer.example"
TABLES = ("delivery_delivery", "delivery_deliveryrecipient")

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def small_disk(services, folder: Path) -> Iterator[None]:
    """Puts the delivery log on a file system of 2 MB, which PostgreSQL has to itself."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount a small file system (mount)")
    assert services.user, "Only root mounts, and PostgreSQL then has a user of its own."
    os.chown(folder, services.user.pw_uid, services.user.pw_gid)
    root = psycopg.connect(
        host=str(services.sockets), user="postgres", dbname="outgate", autocommit=True
    )
    with contextlib.closing(root):
        try:
            root.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            root.execute("GRANT CREATE ON TABLESPACE small TO PUBLIC")
            for table in TABLES:
                root.execute(f"ALTER TABLE {table} SET TABLESPACE small")
            yield
        finally:
            for table in TABLES:
                root.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")
            root.execute("DROP TABLESPACE small")
            subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def folder() -> Path:
    """Where PostgreSQL's user gets in too."""
    folder = DATA_DIR / "small-disk"
    folder.mkdir()
    return folder


def test_with_a_full_disk_there_is_no_dot_and_no_250(services, post_office, app_password, folder):
    with small_disk(services, folder), own_service(post_office) as service:
        assert send(service, app_password) == 250
        filler = folder / "filler"
        fill(filler)
        heard = [send(service, app_password) for _ in range(100)]
        dots = len(post_office.raw("ours")) - 1
        # What still fits into the last pages is logged, and sent; nothing else is.
        assert (heard.count(250), heard.count(451)) == (dots, 100 - dots)
        assert dots < 90
        filler.unlink()
        assert send(service, app_password) == 250
    assert Delivery.objects.count() == len(post_office.raw("ours")) == dots + 2


def fill(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def send(service: OwnService, password: str, sender: str = PRIMARY) -> int:
    """The code that a client hears behind its final dot."""
    message = f"From: {sender}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n".encode()
    with service.sign_in(password) as client:
        client.mail(PRIMARY)
        client.rcpt(RECIPIENT)
        return client.data(message)[0]


def test_mail_goes_on_while_redis_is_away(post_office, app_password):
    nowhere = f"redis+socket://{DATA_DIR}/nobody.sock"
    with own_service(post_office, REDIS_URL=nowhere) as service:
        assert send(service, app_password) == 250
    assert len(post_office.raw("ours")) == 1


@pytest.mark.soak
def test_with_all_places_upstream_taken_the_next_is_told_to_wait(post_office, owner, app_password):
    """Ten messages of one credential wait for their answers; the eleventh for a place, 30 s."""
    give_scripted_gateway(owner, post_office, "secret")
    upstream = Upstream(post_office.upstream_port, post_office.certificate, hold=".")
    with (
        own_service(post_office) as service,
        ThreadPoolExecutor(10) as pool,
        upstream,
    ):
        first = [pool.submit(send, service, app_password, PARTNER_ADDRESS) for _ in range(10)]
        until(lambda: upstream.dots == 10, 10)
        begun = time.monotonic()
        assert send(service, app_password, PARTNER_ADDRESS) == 451
        assert 30 <= time.monotonic() - begun < 35
        assert upstream.dots == 10
        upstream.release()
        assert {each.result() for each in first} == {250}

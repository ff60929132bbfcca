"""A submission service for one test alone: measured, starved of something, or killed."""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.installation import LOOPBACK
from tests.config.running import free_ports
from tests.processes import MANAGE, Running, running
from tests.submission.conftest import PostOffice

PRIMARY = "user@yourdomain.com"


@dataclass
class OwnService:
    """A running service; `sign_in` makes a client of it."""

    office: PostOffice
    process: Running
    port: int
    tls_port: int

    def sign_in(self, password: str, *, login: str = PRIMARY) -> smtplib.SMTP_SSL:
        client = self.connect()
        client.login(login, password)
        return client

    def connect(self, source: str = LOOPBACK) -> smtplib.SMTP_SSL:
        tls = ssl.create_default_context(cafile=self.office.ca_file)
        return smtplib.SMTP_SSL(
            LOOPBACK, self.tls_port, timeout=60, context=tls, source_address=(source, 0)
        )

    @property
    def resident_megabytes(self) -> float:
        """Of all its processes, what they share counted each time."""
        return sum(map(_resident, _family(self.process.process.pid))) / 1024


@contextlib.contextmanager
def own_service(office: PostOffice, *arguments: str, **settings: str) -> Iterator[OwnService]:
    """As the post office's, but on ports of its own and with other arguments and settings."""
    ports = free_ports()
    names = ("OUTGATE_SUBMISSION_PORT", "OUTGATE_SUBMISSIONS_PORT")
    environment = office.environment | {name: ports[name] for name in names}
    environment |= {"OUTGATE_LOG_LEVEL": "INFO"} | settings
    with running("own-service", [*MANAGE, "submission", *arguments], environment) as process:
        process.wait_for("submission listens")
        yield OwnService(office, process, *(int(ports[name]) for name in names))


def _resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def _family(process: int) -> Iterator[int]:
    yield process
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from _family(int(child))

"""More submission services beside the post office's: same database, own ports."""

import smtplib
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.processes import MANAGE, Running, running
from tests.submission.conftest import PostOffice

SUBMISSION = [*MANAGE, "submission"]


def free_ports(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [each.getsockname()[1] for each in opened]
    for each in opened:
        each.close()
    return numbers


@dataclass
class Node:
    running: Running
    port: int
    tls_port: int
    health_port: int
    environment: dict[str, str]

    def client(self, post_office: PostOffice) -> smtplib.SMTP_SSL:
        tls = ssl.create_default_context(cafile=post_office.ca_file)
        return smtplib.SMTP_SSL("localhost", self.tls_port, context=tls, timeout=20)

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text that monitoring gets; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def sample(self, name: str, **labels: str) -> float | None:
        """The value of one metric, as Prometheus reads it."""
        for family in text_string_to_metric_families(self.ask("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None

    def children(self) -> list[int]:
        number = self.running.process.pid
        return [int(each) for each in _words(Path(f"/proc/{number}/task/{number}/children"))]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []


@contextmanager
def node(post_office: PostOffice, name: str, *arguments: str, **settings: str) -> Iterator[Node]:
    """A service that listens, with these arguments and settings besides the post office's."""
    port, tls_port, health_port = free_ports(3)
    environment = post_office.environment | {
        "OUTGATE_SUBMISSION_PORT": str(port), "OUTGATE_SUBMISSIONS_PORT": str(tls_port),
        "OUTGATE_SUBMISSION_HEALTH_PORT": str(health_port),
    } | settings  # fmt: skip
    with running(name, [*SUBMISSION, *arguments], environment) as service:
        service.wait_for("submission listens")
        yield Node(service, port, tls_port, health_port, environment)

"""Services of a test's own, as monitoring and a load balancer see them."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port
from tests.submission.conftest import PostOffice
from tests.submission.own_service import OwnService, own_service


@dataclass
class Node(OwnService):
    health_port: int

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
        number = self.process.process.pid
        words = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return [int(word) for word in words]


@contextmanager
def node(office: PostOffice, *arguments: str, **settings: str) -> Iterator[Node]:
    """A service that listens, with these arguments, and settings besides the post office's."""
    health_port = free_port()
    own = {"OUTGATE_SUBMISSION_HEALTH_PORT": str(health_port)} | settings
    with own_service(office, *arguments, **own) as service:
        yield Node(office, service.process, service.port, service.tls_port, health_port)

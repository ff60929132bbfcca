"""Services of a test's own, as monitoring and a load balancer see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.monitoring import Monitored
from tests.ports import free_port
from tests.submission.conftest import PostOffice
from tests.submission.own_service import OwnService, own_service


@dataclass
class Node(OwnService, Monitored):
    """A service that monitoring asks."""


@contextmanager
def node(office: PostOffice, *arguments: str, **settings: str) -> Iterator[Node]:
    """A service that listens, with these arguments, and settings besides the post office's."""
    health_port = free_port()
    own = {"OUTGATE_SUBMISSION_HEALTH_PORT": str(health_port)} | settings
    with own_service(office, *arguments, **own) as service:
        yield Node(
            health_port=health_port, office=office, process=service.process, port=service.port,
            tls_port=service.tls_port,
        )  # fmt: skip

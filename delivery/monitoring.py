"""What monitoring asks a process: /healthz, /readyz and /metrics, on a port of its own."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import REGISTRY, CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 3.0


class Health(Protocol):
    """Answers for one process, from threads of the server. Empty lists mean that all is well."""

    def find_faults(self) -> list[str]:
        """Why it does not live, so that it has to be started again."""

    def find_troubles(self) -> list[str]:
        """Why it can do no work at present."""

    def figures(self) -> Iterable[Metric]:
        """What is looked up when somebody asks for it."""


class HealthServer(ThreadingMixIn, WSGIServer):
    """Serves a Health from threads of its own, until `shutdown` or the end of the process."""

    daemon_threads = True

    def __init__(self, host: str, port: int, health: Health, *, shared: bool = False) -> None:
        """`shared` with our other processes: each question reaches one of them. Raises OSError."""
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.allow_reuse_port = shared
        super().__init__((host, port), _Request)
        self.set_app(_application(health))
        threading.Thread(target=self.serve_forever, name="health", daemon=True).start()


def _application(health: Health) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(_registry(health))

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                return _tell(start_response, health.find_faults)
            case "/readyz":
                return _tell(start_response, health.find_troubles)
        return _write(start_response, "404 Not Found", "There are /healthz, /readyz, /metrics.")

    return answer


def _tell(start_response: StartResponse, question: Callable[[], list[str]]) -> Iterable[bytes]:
    if troubles := question():
        return _write(start_response, "503 Service Unavailable", *troubles)
    return _write(start_response, "200 OK", "ok")


def _write(start_response: StartResponse, status: str, *lines: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(f"{line}\n" for line in lines).encode()]


class _Figures(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        return self._health.figures()


def _registry(health: Health) -> CollectorRegistry:
    """This process's metrics, or those of all where several share the work."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no types
    else:
        registry.register(REGISTRY)
    registry.register(_Figures(health))
    return registry


class _Request(WSGIRequestHandler):
    timeout = 5.0  # who connects and asks nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the library's name
        logger.debug(format, *args)

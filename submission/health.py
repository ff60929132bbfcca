"""What monitoring asks the service: /healthz, /readyz and /metrics, over HTTP."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from socketserver import ThreadingMixIn
from typing import Any, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.db import Error as DatabaseError
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from delivery.database import Database, ask_whether_it_answers
from delivery.lag import outbox_depth
from policies.lag import oldest_due_wave_age
from submission.certificate import Certificate

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 3.0

T = TypeVar("T")


class Health:
    """A WSGI application. It asks the event loop, so that one that hangs is not well."""

    def __init__(self, database: Database, certificate: Certificate) -> None:
        self.draining = False
        self._database = database
        self._certificate = certificate
        self._loop = asyncio.get_running_loop()
        self._metrics: WSGIApplication = make_wsgi_app(_registry(self))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start_response)
            case "/healthz":
                return self._tell(start_response, _nothing)
            case "/readyz":
                return self._tell(start_response, self._find_troubles)
        return _answer(start_response, "404 Not Found", "There are /healthz, /readyz, /metrics.")

    def ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """From another thread: the loop's answer. Raises TimeoutError."""
        asked = asyncio.run_coroutine_threadsafe(question(), self._loop)
        try:
            return asked.result(ANSWER_SECONDS)
        finally:
            asked.cancel()

    def figures(self) -> Iterable[GaugeMetricFamily]:
        """What is looked up when somebody asks for it."""
        yield GaugeMetricFamily(
            "outgate_certificate_expiry_timestamp_seconds",
            "When the certificate that is shown ends",
            self._certificate.expires.timestamp(),
        )
        try:
            age = self.ask(lambda: self._database(oldest_due_wave_age))
            depth = self.ask(lambda: self._database(outbox_depth))
        except (DatabaseError, TimeoutError) as error:
            logger.warning("rollouts and outbox can't be asked for: %s", type(error).__name__)
            return
        yield GaugeMetricFamily(
            "outgate_rollout_oldest_due_wave_seconds",
            "For how long the oldest wave that is due waits to be applied",
            age.total_seconds(),
        )
        messages = GaugeMetricFamily(
            "outgate_outbox_messages", "Messages in the outbox", labels=["state"]
        )
        oldest = GaugeMetricFamily(
            "outgate_outbox_oldest_message_seconds",
            "For how long the oldest message of a state is in the outbox",
            labels=["state"],
        )
        for state, waiting in depth.items():
            messages.add_metric([state], waiting.messages)
            oldest.add_metric([state], waiting.oldest_seconds)
        yield from (messages, oldest)

    def _tell(
        self,
        start_response: StartResponse,
        question: Callable[[], Coroutine[Any, Any, list[str]]],
    ) -> Iterable[bytes]:
        try:
            troubles = self.ask(question)
        except TimeoutError:
            troubles = ["The service does not answer."]
        if troubles:
            return _answer(start_response, "503 Service Unavailable", *troubles)
        return _answer(start_response, "200 OK", "ok")

    async def _find_troubles(self) -> list[str]:
        troubles = []
        if self.draining:
            troubles.append("The service is about to end.")
        if self._certificate.expires < datetime.now(UTC):
            troubles.append("The certificate has expired.")
        try:
            await self._database(ask_whether_it_answers)
        except (DatabaseError, TimeoutError):
            troubles.append("PostgreSQL does not answer.")
        return troubles


class _Figures(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._health.figures()


def _registry(health: Health) -> CollectorRegistry:
    """This process's metrics, or those of all where several share the service."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(_Figures(health))
    return registry


async def _nothing() -> list[str]:
    return []


def _answer(start_response: StartResponse, status: str, *lines: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(f"{line}\n" for line in lines).encode()]


class HealthServer(ThreadingMixIn, WSGIServer):
    """Serves a Health from threads of its own, until `stop`."""

    daemon_threads = True

    def __init__(self, host: str, port: int, health: Health, *, shared: bool) -> None:
        """`shared` with our other processes: each question reaches one of them. Raises OSError."""
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self.allow_reuse_port = shared
        super().__init__((host, port), _Request)
        self.set_app(health)
        threading.Thread(target=self.serve_forever, name="health", daemon=True).start()

    async def stop(self) -> None:
        await asyncio.to_thread(self.shutdown)
        self.server_close()


class _Request(WSGIRequestHandler):
    timeout = 5.0  # who connects and asks nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the library's name
        logger.debug(format, *args)

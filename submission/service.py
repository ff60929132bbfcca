"""The submission service: listeners, the relay behind them, and an orderly end."""

import asyncio
import gc
import logging
import resource
import signal

from django.conf import settings

from delivery.cache import AccountCache
from delivery.credentials import GatewayCredentials
from delivery.database import Database
from delivery.limits import RecipientLimits
from delivery.link import Link
from delivery.log import DeliveryLog
from delivery.metrics import connection_counter
from delivery.monitoring import HealthServer
from delivery.relay import Relay
from delivery.routing import RouteKind
from delivery.sign_in import GatewaySignIns
from delivery.upstreams import server_of
from delivery.watch import RuleWatch
from smtp.pool import ConnectionPool
from smtp.server import SmtpServer
from smtp.session import Limits
from submission import metrics
from submission.certificate import Certificate
from submission.handler import SubmissionHandler
from submission.health import SubmissionHealth
from submission.sign_in import SignIns

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 7.0  # for what is written to the log when the last message has ended
# All accounts share the relay, and each message holds a connection while its mail program writes.
# Postfix lets one client have 50 (smtpd_client_connection_count_limit).
RELAY_CONNECTIONS = 50
# Objects between two looks for garbage in cycles, of which messages make next to none.
GARBAGE = 10_000


def service_certificate() -> Certificate:
    """Raises OSError where the files are of no use."""
    return Certificate(settings.OUTGATE_TLS_CERT_FILE, settings.OUTGATE_TLS_KEY_FILE)


def raise_file_limit() -> None:
    """Let this process have as many connections as the machine allows: many start with 1,024."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))


async def serve(*, shared: bool = False) -> None:
    """Listen until SIGTERM or SIGINT; then let messages under way finish.

    SIGHUP, or other files in its place, bring a new certificate. `shared` says that other
    processes of ours listen on the same ports.
    """
    raise_file_limit()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    certificate = service_certificate()
    database = Database()
    # Connections of their own, so that none waits for another: changes, accounts, limits, the log.
    watch, accounts_link, limits_link, *log_links = RuleWatch(), Link(), Link(), Link(), Link()
    watching = asyncio.create_task(watch.run())
    log = DeliveryLog(*log_links)
    recipients = RecipientLimits(limits_link, database)
    pools = {
        # Apart, so that servers which people named can't take the places of our own.
        RouteKind.DEFAULT: ConnectionPool(
            per_key=RELAY_CONNECTIONS, on_start=connection_counter(RouteKind.DEFAULT)
        ),
        RouteKind.GATEWAY: ConnectionPool(
            server_of=server_of, on_start=connection_counter(RouteKind.GATEWAY)
        ),
    }
    accounts = AccountCache(watch, accounts_link)
    sign_ins = GatewaySignIns(database, load=GatewayCredentials(accounts_link).load)
    relay = Relay(pools, database, accounts, sign_ins, log, recipients)
    server = SmtpServer(
        SubmissionHandler(relay, SignIns(watch, accounts_link, database)),
        hostname=settings.OUTGATE_HOSTNAME,
        tls=certificate.context,
        limits=Limits(message_size=settings.OUTGATE_MESSAGE_SIZE),
        proxy_networks=settings.OUTGATE_PROXY_NETWORKS,
        on_connections=metrics.SESSIONS.set,
    )

    def new_certificate() -> None:
        if certificate.reload():
            server.use_tls(certificate.context)

    loop.add_signal_handler(signal.SIGHUP, new_certificate)
    renewal = asyncio.create_task(certificate.watch(server.use_tls))
    await _listen(server, shared=shared)
    health = SubmissionHealth(database, certificate)
    health_server = _serve_health(health, shared=shared)
    # What is there by now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    await stopped.wait()
    health.draining = True
    renewal.cancel()
    await server.drain(settings.OUTGATE_SUBMISSION_DRAIN_SECONDS)
    await log.settle()
    await recipients.settle()
    for pool in pools.values():
        await pool.close()
    if health_server:
        await asyncio.to_thread(health_server.shutdown)
        health_server.server_close()
    watching.cancel()
    await asyncio.wait([watching])
    for link in (accounts_link, limits_link, *log_links):
        await link.close()
    database.close()


def _serve_health(health: SubmissionHealth, *, shared: bool) -> HealthServer | None:
    port = settings.OUTGATE_SUBMISSION_HEALTH_PORT
    if not port:
        return None
    return HealthServer(settings.OUTGATE_SUBMISSION_HEALTH_HOST, port, health, shared=shared)


async def _listen(server: SmtpServer, *, shared: bool) -> None:
    host = settings.OUTGATE_SUBMISSION_HOST
    ports = (settings.OUTGATE_SUBMISSION_PORT, settings.OUTGATE_SUBMISSIONS_PORT)
    for port, implicit_tls in zip(ports, (False, True), strict=True):
        await server.listen(host, port, implicit_tls=implicit_tls, shared=shared)
    logger.info("submission listens on %s, ports %s and %s", host, *ports)

"""The submission service: listeners, the relay behind them, and an orderly end."""

import asyncio
import logging
import resource
import signal
import ssl

from django.conf import settings

from delivery.cache import AccountCache
from delivery.database import Database
from delivery.limits import RecipientLimits
from delivery.link import Link
from delivery.log import DeliveryLog
from delivery.relay import Relay
from delivery.routing import RouteKind
from delivery.watch import RuleWatch
from smtp.pool import ConnectionPool
from smtp.server import SmtpServer
from smtp.session import Limits
from submission.handler import SubmissionHandler
from submission.sign_in import SignIns

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 8.0
# All accounts share the relay, and each message holds a connection while its mail program writes.
# Postfix lets one client have 50 (smtpd_client_connection_count_limit).
RELAY_CONNECTIONS = 50


def tls_context() -> ssl.SSLContext:
    """The service's certificate. Raises OSError or ssl.SSLError where the files are of no use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.OUTGATE_TLS_CERT_FILE, settings.OUTGATE_TLS_KEY_FILE)
    return context


def raise_file_limit() -> None:
    """Let this process have as many connections as the machine allows: many start with 1,024."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))


async def serve() -> None:
    """Listen until SIGTERM or SIGINT; then let messages under way finish."""
    raise_file_limit()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    database = Database()
    # A connection each, so that none waits for another: changes, accounts, the log, the limits.
    watch, accounts_link, log_link, limits_link = RuleWatch(), Link(), Link(), Link()
    watching = asyncio.create_task(watch.run())
    log = DeliveryLog(log_link)
    recipients = RecipientLimits(limits_link, database)
    pools = {
        # Apart, so that servers which people named can't take the places of our own.
        RouteKind.DEFAULT: ConnectionPool(per_key=RELAY_CONNECTIONS),
        RouteKind.GATEWAY: ConnectionPool(),
    }
    relay = Relay(pools, database, AccountCache(watch, accounts_link), log, recipients)
    server = SmtpServer(
        SubmissionHandler(relay, SignIns(watch, database)),
        hostname=settings.OUTGATE_HOSTNAME,
        tls=tls_context(),
        limits=Limits(message_size=settings.OUTGATE_MESSAGE_SIZE),
        proxy_networks=settings.OUTGATE_PROXY_NETWORKS,
    )
    host = settings.OUTGATE_SUBMISSION_HOST
    await server.listen(host, settings.OUTGATE_SUBMISSION_PORT, implicit_tls=False)
    await server.listen(host, settings.OUTGATE_SUBMISSIONS_PORT, implicit_tls=True)
    logger.info(
        "submission listens on %s, ports %s and %s",
        host,
        settings.OUTGATE_SUBMISSION_PORT,
        settings.OUTGATE_SUBMISSIONS_PORT,
    )
    await stopped.wait()
    await server.drain(DRAIN_SECONDS)
    await log.settle()
    await recipients.settle()
    for pool in pools.values():
        await pool.close()
    watching.cancel()
    await asyncio.wait([watching])
    for link in (accounts_link, log_link, limits_link):
        await link.close()
    database.close()

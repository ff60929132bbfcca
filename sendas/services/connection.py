"""The test of an outside SMTP server: contacted and signed in to, before anything is kept."""

import asyncio
import socket
import time
from collections.abc import Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.templatetags.clock import clock_time
from sendas.models import ConnectionTest
from sendas.services.outcomes import (
    OUR_OWN,
    ConnectionTestError,
    TestStep,
    explain_outcome,
    told,
)
from sendas.upstream import LEAST_TLS, egress_guard, open_gateway, relay
from smtp.egress import EgressGuard
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.target import Credential, Security, Server, Timeouts

TESTS_PER_HOUR = 10  # per account: people retry, port scanners do not get far
TEST_SECONDS = 9  # so that the page answers within ten, whatever the server does
# Well within TEST_SECONDS, but longer than servers take on purpose over a wrong password.
TIMEOUTS = Timeouts(connect=5, command=8)
# Names that do not exist and names of private addresses are answered after the same time.
NO_ADDRESS_SECONDS = 1
# What a test that ran out of time is told as.
SILENT = SmtpFailure(FailureKind.NOT_A_MAIL_SERVER, Step.CONNECT)
Result = TypeVar("Result")


class GatewaySettings(NamedTuple):
    """What a person types to use an address's own server."""

    host: str
    port: int
    security_mode: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"GatewaySettings({self.host}:{self.port})"


def check_connection(
    *, user: User, address: str, gateway: GatewaySettings, least_tls: str = LEAST_TLS
) -> None:
    """Connect, check the certificate, sign in, ask whether mail from `address` is taken.

    Raise ConnectionTestError with what to do. Nothing is sent to anybody.
    """
    count_test(user)
    server = Server(gateway.host, gateway.port, Security(gateway.security_mode))
    credential = Credential(gateway.username, gateway.password)
    begun = time.monotonic()
    try:
        run_within(TEST_SECONDS, _try_out(server, credential, address, least_tls))
    except (SmtpFailure, TimeoutError) as error:
        failure = error if isinstance(error, SmtpFailure) else SILENT
        if failure.kind == FailureKind.NO_PUBLIC_ADDRESS:
            time.sleep(max(0, begun + NO_ADDRESS_SECONDS - time.monotonic()))
        raise explain_outcome(
            failure, host=gateway.host, port=gateway.port, address=address, least_tls=least_tls
        ) from None


def run_within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, or TimeoutError, on an event loop of its own.

    Unlike asyncio.run it does not wait for look-ups that go on in a thread, those of our own names
    and the like: the system's resolver takes its own time when its servers are away.
    """
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(work, seconds))
    finally:
        loop.close()


async def _try_out(server: Server, credential: Credential, address: str, least_tls: str) -> None:
    await _refuse_ourselves(server)
    connection = await open_gateway(server, credential, least_tls=least_tls, timeouts=TIMEOUTS)
    try:
        await connection.try_sender(address)
        await connection.quit()
    finally:
        # The event loop ends with the test: nobody would wait for the server's TLS goodbye.
        connection.abort()


async def _refuse_ourselves(server: Server) -> None:
    """A gateway that is our own relay or submission service would send mail in a circle."""
    our_relay, _credential = relay()
    ours = [(our_relay.host, our_relay.port), *submission_places()]
    if await leads_to(server, egress_guard(), ours):
        raise told(OUR_OWN, {})


def submission_places() -> list[tuple[str, int]]:
    """Where our own submission service listens."""
    ports = (settings.OUTGATE_SUBMISSION_PORT, settings.OUTGATE_SUBMISSIONS_PORT)
    return [(settings.OUTGATE_SUBMISSION_HOST, port) for port in ports]


async def leads_to(server: Server, guard: EgressGuard, places: Iterable[tuple[str, int]]) -> bool:
    """Whether a connection to the server would end at one of these. Raises SmtpFailure."""
    theirs = {tuple(end) for end in await guard.resolve(server.host, server.port)}
    for host, port in places:
        if theirs & await _endpoints(host, port):
            return True
    return False


async def _endpoints(host: str, port: int) -> set[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        # A server of ours that has no address at the moment is not the one that was typed.
        return set()
    return {(str(answer[4][0]), int(answer[4][1])) for answer in answers}


def count_test(user: User) -> None:
    """Count one connection to where a person says. Raise ConnectionTestError if it is too many."""
    with transaction.atomic():
        # The lock lets many tests at once count each other.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        recent = ConnectionTest.objects.filter(user=user, at__gt=Now() - timedelta(hours=1))
        counted = list(recent.order_by("-at").values_list("at", flat=True)[:TESTS_PER_HOUR])
        if len(counted) == TESTS_PER_HOUR:
            raise _too_many(next_at=counted[-1] + timedelta(hours=1))
        ConnectionTest.objects.create(user=user)


def _too_many(next_at: datetime) -> ConnectionTestError:
    text = _(
        "%(number)s tests within an hour are enough. This one was not made, and your password was "
        "not sent. Test again at %(time)s."
    )
    # Told to the minute: the first one that begins when a test is possible.
    when = clock_time(next_at + timedelta(seconds=59))
    return ConnectionTestError(
        TestStep.NOT_TRIED, "host", text % {"number": TESTS_PER_HOUR, "time": when}
    )

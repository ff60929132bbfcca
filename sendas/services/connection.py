"""The test of an outside SMTP server: contacted and signed in to, before anything is kept."""

import asyncio
import socket
import time
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from accounts.templatetags.clock import clock_time
from sendas.models import ConnectionTest
from sendas.upstream import egress_guard, open_gateway, relay
from smtp.client import Credential, FailureKind, Security, Server, SmtpFailure

TESTS_PER_HOUR = 10  # per account: people retry, port scanners do not get far
TEST_SECONDS = 10
# Names that do not exist and names of private addresses are answered after the same time.
NO_ADDRESS_SECONDS = 1


class GatewaySettings(NamedTuple):
    """What a person types to use an address's own server."""

    host: str
    port: int
    security_mode: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"GatewaySettings({self.host}:{self.port})"


class TestStep(IntEnum):
    """How far a test came; each needs the one before."""

    __test__ = False  # no test case, whatever its name says to pytest

    NOT_TRIED = 0
    NAME = 1
    ANSWER = 2
    CERTIFICATE = 3
    SIGN_IN = 4


class ConnectionTestError(Exception):
    """The server can't be used as typed: `field` of the form, `text` for its owner.

    `step` is where the test ended. `reply` quotes the server, only where it is known to be a mail
    server.
    """

    def __init__(self, step: TestStep, field: str, text: str, reply: str = "") -> None:
        super().__init__(text)
        self.step = step
        self.field = field
        self.text = text
        self.reply = reply


# Step, field to look at, what to do. Lost and silent servers have the text of NOT_A_MAIL_SERVER:
# whether a port is closed or filtered is nobody's business.
EXPLANATIONS = {
    FailureKind.NO_PUBLIC_ADDRESS: (
        TestStep.NAME,
        "host",
        gettext_lazy("No public server has the name %(host)s. Check its spelling."),
    ),
    FailureKind.PORT_NOT_ALLOWED: (
        TestStep.NAME,
        "port",
        gettext_lazy("Port %(port)s can't be used here. Mail servers take mail on 587 or 465."),
    ),
    FailureKind.NOT_A_MAIL_SERVER: (
        TestStep.ANSWER,
        "host",
        gettext_lazy(
            "No mail server answers like that at %(host)s, port %(port)s. Compare server, port "
            "and encryption with what the provider of the address tells you."
        ),
    ),
    FailureKind.TLS_NOT_OFFERED: (
        TestStep.ANSWER,
        "security_mode",
        gettext_lazy(
            "%(host)s offers no encryption on port %(port)s. Your password was not sent. Try port "
            "465 with TLS from the start."
        ),
    ),
    FailureKind.TLS_VERSION: (
        TestStep.CERTIFICATE,
        "host",
        gettext_lazy(
            "%(host)s only speaks an outdated kind of TLS. Your password was not sent. Ask its "
            "provider for a server with TLS 1.2 or later."
        ),
    ),
    FailureKind.CERTIFICATE_NAME: (
        TestStep.CERTIFICATE,
        "host",
        gettext_lazy(
            "The certificate of this server is for another name than %(host)s. Your password was "
            "not sent. Use the name that its provider gives you."
        ),
    ),
    FailureKind.CERTIFICATE_EXPIRED: (
        TestStep.CERTIFICATE,
        "host",
        gettext_lazy(
            "The certificate of %(host)s has expired. Your password was not sent. Ask its "
            "provider to renew it."
        ),
    ),
    FailureKind.CERTIFICATE_UNKNOWN: (
        TestStep.CERTIFICATE,
        "host",
        gettext_lazy(
            "The certificate of %(host)s comes from an authority that is not known here. Your "
            "password was not sent. Ask its provider, or your administrator."
        ),
    ),
    FailureKind.AUTH_NOT_OFFERED: (
        TestStep.SIGN_IN,
        "port",
        gettext_lazy(
            "%(host)s lets nobody sign in on port %(port)s. Your password was not sent. Try port "
            "587 or 465."
        ),
    ),
    FailureKind.AUTH_REFUSED: (
        TestStep.SIGN_IN,
        "password",
        gettext_lazy(
            "%(host)s does not accept this user name and password. Type them again; some "
            "providers want an app password here."
        ),
    ),
}
SIGN_IN_PUT_OFF = gettext_lazy(
    "%(host)s can't check passwords at the moment. Type the password again in a few minutes."
)


def check_connection(*, user: User, gateway: GatewaySettings) -> None:
    """Connect, check the certificate, sign in. Raise ConnectionTestError with what to do."""
    _count_test(user)
    server = Server(gateway.host, gateway.port, Security(gateway.security_mode))
    credential = Credential(gateway.username, gateway.password)
    begun = time.monotonic()
    try:
        asyncio.run(asyncio.wait_for(_sign_in(server, credential), TEST_SECONDS))
    except SmtpFailure as failure:
        if failure.kind == FailureKind.NO_PUBLIC_ADDRESS:
            time.sleep(max(0, begun + NO_ADDRESS_SECONDS - time.monotonic()))
        raise _explain(failure, gateway) from None
    except TimeoutError:
        raise _error(FailureKind.NOT_A_MAIL_SERVER, gateway) from None


async def _sign_in(server: Server, credential: Credential) -> None:
    await _refuse_ourselves(server)
    connection = await open_gateway(server, credential)
    await connection.quit()
    # The event loop ends with the test: nobody would wait for the server's TLS goodbye.
    connection.abort()


async def _refuse_ourselves(server: Server) -> None:
    """A gateway that is our own relay or submission service would send mail in a circle."""
    theirs = {tuple(end) for end in await egress_guard().resolve(server.host, server.port)}
    our_relay, _credential = relay()
    ours = [
        (our_relay.host, our_relay.port),
        (settings.OUTGATE_SUBMISSION_HOST, settings.OUTGATE_SUBMISSION_PORT),
        (settings.OUTGATE_SUBMISSION_HOST, settings.OUTGATE_SUBMISSIONS_PORT),
    ]
    for host, port in ours:
        if theirs & await _endpoints(host, port):
            raise ConnectionTestError(
                TestStep.NAME,
                "host",
                _(
                    "That is this organisation's own server. It carries mail from this address "
                    "without anything to set up: choose “By our servers”."
                ),
            )


async def _endpoints(host: str, port: int) -> set[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        # A server of ours that has no address at the moment is not the one that was typed.
        return set()
    return {(str(answer[4][0]), int(answer[4][1])) for answer in answers}


def _count_test(user: User) -> None:
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


def _explain(failure: SmtpFailure, gateway: GatewaySettings) -> ConnectionTestError:
    """The words for each way a test ends, by the field that the person has to look at."""
    if failure.kind != FailureKind.AUTH_REFUSED:
        known = failure.kind in EXPLANATIONS
        return _error(failure.kind if known else FailureKind.NOT_A_MAIL_SERVER, gateway)
    error = _error(failure.kind, gateway, reply=str(failure.reply or ""))
    if not failure.permanent:
        error.text = SIGN_IN_PUT_OFF % {"host": gateway.host}
    return error


def _error(kind: FailureKind, gateway: GatewaySettings, reply: str = "") -> ConnectionTestError:
    step, field, text = EXPLANATIONS[kind]
    return ConnectionTestError(
        step, field, text % {"host": gateway.host, "port": gateway.port}, reply
    )

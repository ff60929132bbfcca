"""Our client on its way to a server of the tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from smtp.client import Connection
from smtp.failure import SmtpFailure
from smtp.sign_on import connect
from smtp.target import Credential, Security, Server, Timeouts
from smtp.tls import ClientContext
from tests.smtp.certificates import Authority
from tests.smtp.fakes import PASSWORD, Play, playing

CREDENTIAL = Credential("user.name@partner.example", PASSWORD)
QUICK = Timeouts(connect=1, command=1, content=1, final=1)
CONTENT = b"From: user@example.com\r\n\r\n..text\xff\r\n"


@contextlib.asynccontextmanager
async def connected(
    port: int,
    authority: Authority,
    security: Security = Security.STARTTLS,
    credential: Credential | None = CREDENTIAL,
    host: str = "localhost",
    tls: ClientContext | None = None,
) -> AsyncIterator[Connection]:
    connection = await connect(
        Server(host, port, security),
        credential=credential,
        guard=None,
        tls=tls or authority.client_context(),
        hostname="mail.example.com",
        timeouts=QUICK,
    )
    try:
        yield connection
    finally:
        connection.abort()


async def failure_of(*plays: Play, authority: Authority, **options) -> tuple[SmtpFailure, bytes]:
    """How connecting fails, and what the server has heard by then."""
    async with playing(*plays) as theatre:
        with pytest.raises(SmtpFailure) as caught:
            async with connected(theatre.port, authority, **options):
                pass
        await asyncio.sleep(0.05)
        return caught.value, theatre.heard


def no_auth(heard: bytes) -> None:
    assert b"AUTH" not in heard
    assert PASSWORD.encode() not in heard

"""Signing on to an SMTP server: connected, encrypted (RFC 3207), greeted, signed in (RFC 4954)."""

import asyncio
import contextlib

from smtp import sasl
from smtp.client import Connection
from smtp.egress import EgressGuard, Endpoint, ascii_host
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply
from smtp.target import Credential, Security, Server, Timeouts
from smtp.tls import ClientContext, check_context, classify
from smtp.wire import Wire


async def connect(
    server: Server,
    *,
    credential: Credential | None = None,
    guard: EgressGuard | None,
    tls: ClientContext,
    hostname: str,
    timeouts: Timeouts | None = None,
) -> Connection:
    """A connection that is encrypted as `server` says and signed in. Raises SmtpFailure.

    `guard` is None only for servers that the operator named. No byte of AUTH is sent before the
    certificate is verified. ValueError for a TLS context that does not verify.
    """
    check_context(tls)
    times = timeouts or Timeouts()
    wire = await _open(server, guard, times.connect)
    signing_on = SigningOn(wire, server, credential, times)
    try:
        extensions = await signing_on.run(tls, hostname)
    except BaseException:
        wire.abort()
        raise
    return Connection(wire, extensions, credential, times)


async def _open(server: Server, guard: EgressGuard | None, seconds: float) -> Wire:
    loop = asyncio.get_running_loop()
    endpoints = await _endpoints(server, guard, seconds)
    for address, port in endpoints:
        # Closed, silent and unreachable are one and the same: the next address may answer.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(seconds / len(endpoints)):
                return (await loop.create_connection(Wire, address, port))[1]
    raise SmtpFailure(FailureKind.NOT_A_MAIL_SERVER, Step.CONNECT)


async def _endpoints(server: Server, guard: EgressGuard | None, seconds: float) -> list[Endpoint]:
    if guard is None:
        return [Endpoint(server.host, server.port)]
    try:
        async with asyncio.timeout(seconds):
            return await guard.resolve(server.host, server.port)
    except TimeoutError:
        raise SmtpFailure(FailureKind.NO_PUBLIC_ADDRESS, Step.RESOLVE) from None


class SigningOn:
    """Everything between an open connection and the first message. Once failed, abort `wire`."""

    def __init__(
        self, wire: Wire, server: Server, credential: Credential | None, timeouts: Timeouts
    ) -> None:
        self._wire = wire
        self._server = server
        self._credential = credential
        self._timeouts = timeouts
        self._extensions: dict[str, str] = {}

    async def run(self, tls: ClientContext, hostname: str) -> dict[str, str]:
        """The extensions that hold in the end. Raises SmtpFailure."""
        try:
            if self._server.security is Security.SSL:
                await self._secure(tls)
            await self._greet()
            await self._say_hello(hostname)
        except SmtpFailure as failure:
            raise _as_unknown_server(failure) from None
        if self._server.security is Security.STARTTLS:
            await self._start_tls(tls)
            await self._say_hello(hostname)
        if self._credential:
            await self._sign_in(self._credential)
        self._wire.remember_tls_session()
        return self._extensions

    async def _secure(self, tls: ClientContext) -> None:
        host = ascii_host(self._server.host) or self._server.host
        try:
            await self._wire.start_tls(tls, host, self._timeouts.connect)
        except OSError as error:
            tls.forget(host)
            kind = classify(error) or FailureKind.CONNECTION_LOST
            raise SmtpFailure(kind, Step.TLS) from None

    async def _greet(self) -> None:
        greeting = await self._reply(self._timeouts.connect, Step.GREETING)
        if greeting.code != 220:
            raise SmtpFailure(FailureKind.REFUSED, Step.GREETING, reply=greeting)

    async def _say_hello(self, hostname: str) -> None:
        reply = await self._command(f"EHLO {hostname}".encode("ascii"), Step.EHLO)
        if reply.code == 421:
            raise SmtpFailure(FailureKind.REFUSED, Step.EHLO, reply=reply)
        if reply.code != 250:
            raise SmtpFailure(FailureKind.NOT_A_MAIL_SERVER, Step.EHLO)
        self._extensions = _extensions(reply)

    async def _start_tls(self, tls: ClientContext) -> None:
        if "STARTTLS" not in self._extensions:
            raise SmtpFailure(FailureKind.TLS_NOT_OFFERED, Step.STARTTLS)
        reply = await self._command(b"STARTTLS", Step.STARTTLS)
        if reply.code != 220:
            raise SmtpFailure(FailureKind.TLS_NOT_OFFERED, Step.STARTTLS, reply=reply)
        # Nothing said in plaintext counts (RFC 3207 4.2).
        self._extensions = {}
        await self._secure(tls)

    async def _sign_in(self, credential: Credential) -> None:
        offered = self._extensions.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            response = sasl.plain_response(credential.username, credential.password)
            reply = await self._command(b"AUTH PLAIN " + response, Step.AUTH)
        elif "LOGIN" in offered:
            reply = await self._command(b"AUTH LOGIN", Step.AUTH)
            for answer in sasl.login_responses(credential.username, credential.password):
                if reply.code == 334:
                    reply = await self._command(answer, Step.AUTH)
        else:
            raise SmtpFailure(FailureKind.AUTH_NOT_OFFERED, Step.AUTH)
        if reply.is_positive and reply.code != 235:
            raise SmtpFailure(FailureKind.CONNECTION_LOST, Step.AUTH)
        if reply.code != 235:
            raise SmtpFailure(FailureKind.AUTH_REFUSED, Step.AUTH, reply=reply)

    async def _command(self, line: bytes, step: Step) -> Reply:
        self._wire.send(line + b"\r\n")
        return await self._reply(self._timeouts.command, step)

    async def _reply(self, seconds: float, step: Step) -> Reply:
        reply = await self._wire.reply(seconds, step)
        return self._credential.redact(reply) if self._credential else reply


def _extensions(reply: Reply) -> dict[str, str]:
    """The keywords of an EHLO reply in upper case, with their parameters."""
    extensions = {}
    for line in reply.text.split("\n")[1:]:
        keyword, _, parameters = line.partition(" ")
        extensions[keyword.upper()] = parameters
    return extensions


def _as_unknown_server(failure: SmtpFailure) -> SmtpFailure:
    """Before EHLO has been answered, closed, silent and foreign all look the same."""
    if failure.kind in (FailureKind.CONNECTION_LOST, FailureKind.TIMEOUT):
        return SmtpFailure(FailureKind.NOT_A_MAIL_SERVER, failure.step)
    return failure

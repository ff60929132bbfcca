"""The bytes between us and another SMTP server: replies, lines, content, TLS."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from smtp.deadline import Deadline
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply, ReplyError, ReplyParser
from smtp.tls import ClientContext

_TLS_SHUTDOWN = 5.0
# What may wait for the other side before writing stops; TLS transports would take 512 kB.
_UNSENT = 65_536
_MAX_QUEUED = 1_024  # replies nobody has asked for: no message has so many recipients


class Wire(asyncio.Protocol):
    """One connection; replies queue up until asked for, so early ones are seen, never lost."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._broken = False
        self._writable = True
        self._waiter: asyncio.Future[None] | None = None
        # One timer for all waits: to begin and end one for each would cost more than the waiting.
        self._deadline = Deadline(self._loop, self._on_deadline)
        self._expired = False

    @property
    def is_quiet(self) -> bool:
        """Open, and nothing has arrived that was not asked for."""
        return not (self._broken or self._replies or self._parser.is_pending)

    @property
    def is_open(self) -> bool:
        return not self._broken

    @property
    def peer(self) -> str:
        """The other side's address, "" if there is none."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if name else ""

    @property
    def tls_version(self) -> str | None:
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        return tls.version() if tls else None

    def remember_tls_session(self) -> None:
        """Let the next connection resume it. Once the server has spoken under TLS."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        if tls:
            cast("ClientContext", tls.context).remember(tls)

    def send(self, data: bytes) -> None:
        if self._transport and not self._broken:
            self._transport.write(data)

    async def drain(self, seconds: float, step: Step) -> None:
        """Wait until the other side takes more, answers or goes away."""
        if not self._writable:
            await self._wait(lambda: self._writable or not self.is_quiet, seconds, step)

    async def reply(self, seconds: float, step: Step) -> Reply:
        """The next reply. Raises SmtpFailure: TIMEOUT or CONNECTION_LOST."""
        if not (self._replies or self._broken):
            await self._wait(lambda: bool(self._replies) or self._broken, seconds, step)
        if not self._replies:
            raise SmtpFailure(FailureKind.CONNECTION_LOST, step)
        return self._replies.popleft()

    async def start_tls(self, context: ClientContext, host: str, seconds: float) -> None:
        """Encrypt. Raises OSError from the handshake, SmtpFailure for plaintext behind the 220.

        What a stranger on the line has injected must not count as said under TLS (RFC 3207 4.2).
        """
        if not self._transport or not self.is_quiet:
            raise SmtpFailure(FailureKind.CONNECTION_LOST, Step.STARTTLS)
        transport = await self._loop.start_tls(
            self._transport,
            self,
            context,
            server_hostname=host,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=_TLS_SHUTDOWN,
        )
        if transport is None:
            raise ConnectionResetError("closed during the handshake")
        transport.set_write_buffer_limits(_UNSENT)
        self._transport = transport

    def close(self) -> None:
        """Close once what was sent has left."""
        self._broken = True
        # Before CPython 3.11.3 a TLS transport that is closed twice can't be aborted any more.
        if self._transport and not self._transport.is_closing():
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection with whatever has not left yet."""
        self._broken = True
        if self._transport:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._replies.extend(self._parser.feed(data))
        except ReplyError:
            self.abort()
        if len(self._replies) > _MAX_QUEUED:
            self.abort()
        self._wake()

    def eof_received(self) -> None:
        self._broken = True
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        self._broken = True
        self._deadline.cancel()
        self._transport = None  # it holds us through TLS, and large buffers with it
        self._wake()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    async def _wait(self, until: Callable[[], bool], seconds: float, step: Step) -> None:
        """However many bytes drip in meanwhile, no longer than `seconds`."""
        self._expired = False
        self._deadline.arm(seconds)
        try:
            while not until():
                if self._expired:
                    raise SmtpFailure(FailureKind.TIMEOUT, step)
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            self._waiter = None

    def _on_deadline(self) -> None:
        # Left from a wait that has ended, it finds nobody waiting.
        self._expired = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

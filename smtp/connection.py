"""One client's connection to the server, as an `asyncio.Protocol`, for asyncio and uvloop.

It cuts lines, keeps time, waits for the handler and logs. What a verb means stands in
`smtp.dialogue`, what a message may hold in `smtp.content`.
"""

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any, cast

from smtp.content import BareLineError
from smtp.deadline import Deadline
from smtp.dialogue import CLOSING, TALKS_TOO_EARLY, Action, Dialogue, Outcome
from smtp.incoming import IncomingMessage
from smtp.reply import Reply
from smtp.service import Service
from smtp.session import Session
from smtp.transfer import ClientGoneError, Transfer

log = logging.getLogger("smtp.server")

# What may arrive while the handler is asked, before reading stops.
_HELD_WHILE_BUSY = 65_536
_TLS_SHUTDOWN = 5.0

_FAULT = Reply(451, "4.3.0", "Something is wrong here: try again later")
_BARE_LINE = Reply(554, "5.6.0", "Lines end with CRLF, and CR, LF and NUL stand nowhere else")
_LINE_TOO_LONG = Reply(500, "5.5.2", "The line is too long")
_BARE_COMMAND = Reply(500, "5.5.2", "Lines end with CRLF, and CR, LF and NUL stand nowhere else")
_TOO_SLOW = Reply(421, "4.4.2", "The connection was quiet for too long")
_TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections from your address")


class _State(Enum):
    SILENT = auto()  # the greeting has not been sent
    COMMANDS = auto()
    BUSY = auto()  # a task works for the client; what arrives is kept
    CONTENT = auto()
    CLOSING = auto()  # what arrives is dropped


class SmtpServerProtocol(asyncio.Protocol):
    """One client's connection; a task runs only while it signs in or sends a message."""

    def __init__(self, service: Service, *, implicit_tls: bool) -> None:
        self._service = service
        self._limits = service.limits
        self._loop = asyncio.get_running_loop()
        self._implicit_tls = implicit_tls
        self._state = _State.SILENT
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._paused = False
        self._counted = False
        self._message: IncomingMessage | None = None
        self._deadline = Deadline(self._loop, self._on_deadline)
        self._window_start = 0
        self._was_paused = False
        self._cut_at = 0.0
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # The connection begins and ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.session = Session(peer=peer[0] if peer else "local")
        self._dialogue = Dialogue(
            self.session, hostname=self._service.hostname, limits=self._limits
        )
        self._opened = self._loop.time()
        self._service.connections.add(self)
        self._counted = self._service.counter.enter(
            self.session.peer, self._limits.connections_per_ip
        )
        if not self._counted:
            log.warning(
                "session %s from %s: too many connections", self.session.id, self.session.peer
            )
            self._hang_up(None if self._implicit_tls else _TOO_MANY_CONNECTIONS)
        elif self._implicit_tls:
            self._begin_tls()
        else:
            self._deadline.arm(self._limits.greeting_delay)

    def connection_lost(self, _: Exception | None) -> None:
        if self.closed.done():
            return
        self.closed.set_result(None)
        self._state = _State.CLOSING
        self._service.connections.discard(self)
        if self._counted:
            self._service.counter.leave(self.session.peer)
        self._deadline.cancel()
        # It holds us through TLS and its large buffers, which would stay until the next collection.
        del self._transport
        if self._message:
            self._message.lose()
        session, signed_in = self.session, self.session.account is not None
        state = f"tls={session.tls} signed_in={signed_in} errors={self._dialogue.errors}"
        log.info("session %s from %s ended: %s", session.id, session.peer, state)

    def drain(self) -> None:
        """End the session now if the client is idle, else after what it is doing."""
        if self._state in (_State.SILENT, _State.COMMANDS):
            self._say(CLOSING)
            self._close()

    def cut(self) -> None:
        """End the session whatever it is doing."""
        self._transport.abort()

    def _greet(self) -> None:
        self._say(self._dialogue.greeting())
        self._enter_commands()

    def _hang_up(self, reply: Reply | None) -> None:
        """Say why, and read nothing more.

        Closed only when the client is quiet, for a reset would take the reply with it.
        """
        if reply:
            self._say(reply)
        self._flush()
        self._state = _State.CLOSING
        self._buffer.clear()
        if self._message:
            self._message.lose()
        self._resume()
        self._cut_at = self._loop.time() + self._limits.before_auth
        self._linger()

    def _linger(self) -> None:
        self._deadline.arm(min(self._limits.linger, self._cut_at - self._loop.time()))

    def _close(self) -> None:
        self._flush()
        self._state = _State.CLOSING
        self._transport.close()

    # What the client sends

    def data_received(self, data: bytes) -> None:
        if self._state is _State.CONTENT and self._message:
            self._read_content(self._message, data)
        elif self._state is _State.COMMANDS:
            self._buffer += data
            self._read_commands()
        elif self._state is _State.BUSY:
            self._buffer += data
            if len(self._buffer) > _HELD_WHILE_BUSY:
                self._pause()
        elif self._state is _State.SILENT:
            self._obey(TALKS_TOO_EARLY)
        else:
            self._linger()

    def _read_commands(self) -> None:
        while self._state is _State.COMMANDS and (line := self._next_line()) is not None:
            if log.isEnabledFor(logging.DEBUG):
                log.debug("session %s: %s", self.session.id, self._dialogue.loggable(line))
            self._obey(self._dialogue.take(line, is_last=not self._buffer))
            if self.session.account is not None and self._state is _State.COMMANDS:
                self._deadline.arm(self._limits.idle)
        self._flush()

    def _next_line(self) -> bytes | None:
        limit = self._dialogue.line_limit(bytes(self._buffer[:5]))
        end = self._buffer.find(b"\n", 0, limit) + 1
        if not end:
            if len(self._buffer) >= limit:
                self._hang_up(_LINE_TOO_LONG)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            self._hang_up(_BARE_COMMAND)
            return None
        return line[:-2]

    def _obey(self, outcome: Outcome) -> None:
        if outcome.reply:
            self._say(outcome.reply)
        match outcome.action:
            case Action.QUIT:
                self._close()
            case Action.HANG_UP:
                self._hang_up(None)
            case Action.STARTTLS:
                self._begin_tls()
            case Action.AUTHENTICATE:
                self._work(self._authenticate())
            case Action.CONTENT:
                self._enter_content()
            case Action.CONTINUE:
                pass

    def _say(self, reply: Reply) -> None:
        self._out.append(reply.encode())

    def _flush(self) -> None:
        """One write for all replies of a group: one packet, one TLS record."""
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    # TLS

    def _begin_tls(self) -> None:
        # Paused before the client can know that it may begin, so no byte of the handshake gets lost
        # here.
        self._pause()
        self._flush()
        self._work(self._secure())

    async def _secure(self) -> None:
        if self._buffer:
            # uvloop reads once before a pause made in connection_made holds, and what it read is
            # the ClientHello. Behind STARTTLS nothing can be here: reading was under way.
            self._loop.call_soon(_pass_to_tls, self._transport, bytes(self._buffer))
            self._buffer.clear()
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                self._service.tls,
                server_side=True,
                ssl_handshake_timeout=self._limits.before_auth,
                ssl_shutdown_timeout=_TLS_SHUTDOWN,
            )
        except OSError as error:
            log.info("session %s: no TLS: %s", self.session.id, type(error).__name__)
            self._transport.abort()
            self.connection_lost(None)
            return
        if transport is None or self.closed.done():
            return
        # While reading is paused, TLS goes on and would hold four times as much.
        cast("Any", transport).set_read_buffer_limits(_HELD_WHILE_BUSY)
        self._transport = transport
        self._paused = False
        self._dialogue.start_tls(transport.get_extra_info("ssl_object").version())
        if self._implicit_tls and not self._buffer:
            self._state = _State.SILENT
            self._deadline.arm(self._limits.greeting_delay)
        elif self._implicit_tls:
            self._obey(TALKS_TOO_EARLY)
        else:
            self._enter_commands()

    # Signing in

    async def _authenticate(self) -> None:
        username, password = self._dialogue.take_credentials()
        try:
            result = await self._service.handler.authenticate(self.session, username, password)
        except Exception as error:  # the client must hear something, whatever the handler raises
            result = self._fault(error)
        if isinstance(result, Reply):
            log.info("session %s: sign-in refused: %d", self.session.id, result.code)
            if result.is_permanent:
                await asyncio.sleep(self._limits.auth_failure_delay)
            outcome = self._dialogue.refuse_sign_in(result)
        else:
            outcome = self._dialogue.sign_in(result)
        if not self.closed.done():
            self._go_on(outcome)

    # A message

    def _enter_content(self) -> None:
        if self._dialogue.envelope is None:
            raise RuntimeError("content without MAIL")
        handler = self._service.handler
        self._message = IncomingMessage(
            self._dialogue.envelope,
            self._limits,
            begin=lambda envelope, header: handler.begin(self.session, envelope, header),
            pause=self._pause,
            resume=self._resume,
            on_fault=self._fault,
        )
        self._state = _State.CONTENT
        self._window_start = 0
        self._deadline.arm(self._limits.rate_window)

    def _read_content(self, message: IncomingMessage, data: bytes) -> None:
        is_open = message.transfer is not None
        try:
            message.feed(data)
        except BareLineError:
            log.info("session %s: bare CR, LF or NUL in content", self.session.id)
            self._hang_up(_BARE_LINE)
            return
        if message.transfer and not is_open:
            self._service.start(self._carry(message, message.transfer))
        if message.has_ended:
            self._state = _State.BUSY
            self._buffer += message.rest
            if message.refusal and not message.transfer:
                self._end_message(message, message.refusal)
        elif message.is_far_too_large:
            self._hang_up(message.refusal)

    async def _carry(self, message: IncomingMessage, transfer: Transfer) -> None:
        try:
            reply = await transfer.run()
        except ClientGoneError:
            sender = message.envelope.sender
            log.info("session %s: message from <%s> broken off", self.session.id, sender)
            return
        self._end_message(message, reply)

    def _end_message(self, message: IncomingMessage, reply: Reply) -> None:
        summary = f"{len(message.envelope.recipients)} recipients, {message.size} octets"
        sender, answer = message.envelope.sender, f"{reply.code} {reply.enhanced}"
        log.info("session %s: <%s>, %s: %s", self.session.id, sender, summary, answer)
        self._message = None
        if not self.closed.done():
            self._go_on(self._dialogue.end_message(reply))

    # Between two states

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self._state = _State.BUSY
        self._service.start(work)

    def _go_on(self, outcome: Outcome) -> None:
        """Answer what the handler was asked for, and take up the commands again."""
        self._state = _State.COMMANDS
        self._obey(outcome)
        if self._state is _State.COMMANDS:
            self._enter_commands()
        else:
            self._flush()

    def _enter_commands(self) -> None:
        self._state = _State.COMMANDS
        if self._service.draining:
            self.drain()
            return
        self._resume()
        if self.session.account is None:
            self._deadline.arm(self._opened + self._limits.before_auth - self._loop.time())
        else:
            self._deadline.arm(self._limits.idle)
        self._read_commands()

    def _fault(self, error: Exception) -> Reply:
        """Log where it happened, never its text, which may hold content or a credential."""
        frames = traceback.extract_tb(error.__traceback__)
        where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
        log.error("session %s: %s at %s", self.session.id, type(error).__name__, where)
        return _FAULT

    def _pause(self) -> None:
        if not self._paused and not self.closed.done():
            self._paused = self._was_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self.closed.done():
            self._paused = False
            self._transport.resume_reading()

    def _on_deadline(self) -> None:
        if self._state is _State.SILENT:
            self._greet()
        elif self._state is _State.COMMANDS:
            self._hang_up(_TOO_SLOW)
        elif self._state is _State.CONTENT:
            self._check_rate()
        elif self._state is _State.CLOSING:
            self._transport.close()

    def _check_rate(self) -> None:
        """Cut off a client that sends too slowly, unless it was we who did not read."""
        size = self._message.size if self._message else 0
        received, self._window_start = size - self._window_start, size
        waited, self._was_paused = self._was_paused, self._paused
        if waited or received >= self._limits.bytes_per_second * self._limits.rate_window:
            self._deadline.arm(self._limits.rate_window)
        else:
            self._hang_up(_TOO_SLOW)


def _pass_to_tls(transport: asyncio.Transport, data: bytes) -> None:
    """Hand what was read too early to the protocol that `start_tls` has put in our place."""
    tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
    while data and not transport.is_closing():
        space = memoryview(tls.get_buffer(len(data)))
        count = min(len(space), len(data))
        space[:count] = data[:count]
        tls.buffer_updated(count)
        data = data[count:]

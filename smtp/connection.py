"""One client's connection to the server, as an `asyncio.Protocol`, for asyncio and uvloop.

It cuts lines, keeps time, waits for the handler and logs. What a verb means stands in
`smtp.dialogue`, what a message may hold in `smtp.content`.
"""

import asyncio
import logging
from collections.abc import Coroutine
from enum import Enum, auto
from functools import partial
from typing import Any, cast

from smtp import trouble
from smtp.chunks import ChunkReader
from smtp.command import Chunk
from smtp.content import BareLineError, ContentReader
from smtp.deadline import Deadline
from smtp.dialogue import CLOSING, OK, TALKS_TOO_EARLY, Action, Dialogue, Outcome
from smtp.handshake import HELD_WHILE_BUSY, encrypt
from smtp.incoming import IncomingMessage
from smtp.lines import LineError, cut_line
from smtp.rate import RateWatch
from smtp.reply import Reply
from smtp.service import Service
from smtp.session import Envelope, Session
from smtp.transfer import ClientGoneError, Transfer

log = logging.getLogger("smtp.server")


class _State(Enum):
    SILENT = auto()  # the greeting has not been sent
    COMMANDS = auto()
    BUSY = auto()  # a task works for the client; what arrives is kept
    CONTENT = auto()
    CLOSING = auto()  # what arrives is dropped


class SmtpServerProtocol(asyncio.Protocol):
    """One client's connection; a task runs only while it signs in or sends a message."""

    def __init__(self, service: Service, *, implicit_tls: bool, client: str | None = None) -> None:
        """`client` is whom a load balancer stands for."""
        self._service = service
        self._limits = service.limits
        self._loop = asyncio.get_running_loop()
        self._implicit_tls = implicit_tls
        self._client = client
        self._state = _State.SILENT
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._paused = False
        self._choked = False
        self._counted = False
        self._message: IncomingMessage | None = None
        self._chunks: ChunkReader | None = None
        self._deadline = Deadline(self._loop, self._on_deadline)
        self._rate = RateWatch(service.limits)
        self._cut_at = 0.0
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # The connection begins and ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.session = Session(peer=self._client or (peer[0] if peer else "local"))
        self._dialogue = Dialogue(
            self.session, hostname=self._service.hostname, limits=self._limits
        )
        self._opened = self._loop.time()
        self._service.add(self)
        self._counted = self._service.counter.enter(
            self.session.peer, self._limits.connections_per_ip
        )
        if not self._counted:
            log.warning(
                "session %s from %s: too many connections",
                self.session.id,
                self.session.peer,
                extra=self.session.for_log,
            )
            self._hang_up(None if self._implicit_tls else trouble.TOO_MANY_CONNECTIONS)
        elif self._implicit_tls:
            self._begin_tls()
        else:
            self._deadline.arm(self._limits.greeting_delay)

    def connection_lost(self, _: Exception | None) -> None:
        if self.closed.done():
            return
        self.closed.set_result(None)
        self._state = _State.CLOSING
        self._service.remove(self)
        if self._counted:
            self._service.counter.leave(self.session.peer)
        self._deadline.cancel()
        # It holds us through TLS and its large buffers, which would stay until the next collection.
        del self._transport
        if self._message:
            self._message.lose()
        session, signed_in = self.session, self.session.account is not None
        state = f"tls={session.tls} signed_in={signed_in} errors={self._dialogue.errors}"
        extra = session.for_log
        log.info("session %s from %s ended: %s", session.id, session.peer, state, extra=extra)

    def drain(self) -> None:
        """End the session now if the client is idle, else after what it is doing."""
        # Between two chunks a message is under way.
        if self._state in (_State.SILENT, _State.COMMANDS) and not self._message:
            self._say(CLOSING)
            self._close()

    def cut(self) -> None:
        """End the session whatever it is doing."""
        self._transport.abort()

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
        self._close_transport()

    def _close_transport(self) -> None:
        # Before CPython 3.11.3 a TLS transport that is closed twice can't be aborted any more.
        if not self._transport.is_closing():
            self._transport.close()

    def pause_writing(self) -> None:
        """Who does not read our replies is not read either."""
        self._choked = True
        if not self.closed.done():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        if not (self._paused or self.closed.done()):
            self._transport.resume_reading()

    # What the client sends

    def data_received(self, data: bytes) -> None:
        if self._state is _State.CONTENT and self._message:
            self._read_content(self._message, data)
            self._read_commands()  # if a chunk is complete
        elif self._state is _State.COMMANDS:
            self._buffer += data
            self._read_commands()
        elif self._state is _State.BUSY:
            self._buffer += data
            if len(self._buffer) > HELD_WHILE_BUSY:
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
                if self._message and not self._dialogue.envelope:
                    self._drop_message(self._message)
        self._flush()

    def _next_line(self) -> bytes | None:
        try:
            return cut_line(self._buffer, self._dialogue.line_limit(bytes(self._buffer[:5])))
        except LineError as error:
            self._hang_up(error.reply)
            return None

    def _obey(self, outcome: Outcome) -> None:
        if outcome.reply:
            self._say(outcome.reply)
        if outcome.action is Action.CONTINUE:
            return
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
                self._enter_content(self._new_message(ContentReader.within(self._limits)))
            case Action.CHUNK:
                self._enter_chunk(self._dialogue.chunk)

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
        # uvloop reads once before a pause made in connection_made holds, and a load balancer may
        # send its header along: that is the ClientHello. Behind STARTTLS nothing can be here.
        early = bytes(self._buffer)
        self._buffer.clear()
        try:
            transport = await encrypt(
                self._transport,
                self,
                self._service.tls,
                early=early,
                seconds=self._limits.before_auth,
            )
        except OSError as error:
            reason, extra = type(error).__name__, self.session.for_log
            log.info("session %s: no TLS: %s", self.session.id, reason, extra=extra)
            self._transport.abort()
            self.connection_lost(None)
            return
        if transport is None or self.closed.done():
            return
        self._transport = transport
        self._paused = self._choked = False
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
            log.debug("session %s: sign-in refused: %d", self.session.id, result.code)
            if result.is_permanent:
                await asyncio.sleep(self._limits.auth_failure_delay)
            outcome = self._dialogue.refuse_sign_in(result)
        else:
            outcome = self._dialogue.sign_in(result)
        if not self.closed.done():
            self._go_on(outcome)

    # A message

    def _new_message(self, reader: ContentReader) -> IncomingMessage:
        return IncomingMessage(
            # Chunks that follow no MAIL are read too, to be refused.
            self._dialogue.envelope or Envelope(""),
            self._limits,
            reader,
            begin=partial(self._service.handler.begin, self.session),
            pause=self._pause,
            resume=self._resume,
            on_fault=self._fault,
        )

    def _enter_content(self, message: IncomingMessage) -> None:
        self._message = message
        self._state = _State.CONTENT
        self._rate.begin(message.size)
        self._deadline.arm(self._limits.rate_window)

    def _enter_chunk(self, chunk: Chunk) -> None:
        if not self._message or not self._chunks:
            self._chunks = ChunkReader.within(self._limits)
            self._message = self._new_message(self._chunks)
        if refusal := self._dialogue.refuse_chunk():
            self._chunks.refuse(refusal)
        self._chunks.expect(chunk)
        self._enter_content(self._message)
        data = bytes(self._buffer[: chunk.size])
        del self._buffer[: chunk.size]
        self._read_content(self._message, data)

    def _read_content(self, message: IncomingMessage, data: bytes) -> None:
        is_open = message.transfer is not None
        try:
            message.feed(data)
        except BareLineError:
            extra = self.session.for_log
            log.info("session %s: bare CR, LF or NUL in content", self.session.id, extra=extra)
            self._hang_up(trouble.BARE_LINE)
            return
        if message.transfer and not is_open:
            self._service.start(self._carry(message, message.transfer))
        if message.has_ended:
            self._state = _State.BUSY
            self._buffer += message.rest
            if message.refusal and not message.transfer:
                self._end_message(message, message.refusal)
        elif message.waits:
            self._end_chunk(message)
        elif message.is_far_too_large:
            self._hang_up(message.refusal)

    def _end_chunk(self, message: IncomingMessage) -> None:
        self._state = _State.COMMANDS
        self._buffer += message.rest
        self._deadline.arm(self._limits.idle)
        if verdict := message.verdict:
            message.lose()
            self._end_message(message, verdict)
        else:
            self._say(OK)

    def _drop_message(self, message: IncomingMessage) -> None:
        """The client has taken back what it sent in chunks."""
        message.lose()
        self._message = None
        if self._service.draining:
            self.drain()

    async def _carry(self, message: IncomingMessage, transfer: Transfer) -> None:
        try:
            reply = await transfer.run()
        except ClientGoneError:
            sender = message.envelope.sender
            log.debug("session %s: message from <%s> broken off", self.session.id, sender)
            return
        self._end_message(message, reply)

    def _end_message(self, message: IncomingMessage, reply: Reply) -> None:
        # Of the others the handler tells more.
        level = logging.INFO if message.refusal else logging.DEBUG
        if log.isEnabledFor(level):
            summary = f"{len(message.envelope.recipients)} recipients, {message.size} octets"
            sender, answer = message.envelope.sender, f"{reply.code} {reply.enhanced}"
            text, extra = "session %s: <%s>, %s: %s", self.session.for_log
            log.log(level, text, self.session.id, sender, summary, answer, extra=extra)
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
        trouble.log_fault(self.session, error)
        return trouble.FAULT

    def _pause(self) -> None:
        if not self._paused and not self.closed.done():
            self._paused = True
            self._rate.excuse()
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self.closed.done():
            self._paused = False
            if not self._choked:
                self._transport.resume_reading()

    def _on_deadline(self) -> None:
        if self._state is _State.SILENT:
            self._say(self._dialogue.greeting())
            self._enter_commands()
        elif self._state is _State.COMMANDS:
            self._hang_up(trouble.TOO_SLOW)
        elif self._state is _State.CONTENT:
            self._check_rate()
        elif self._state is _State.CLOSING:
            self._close_transport()

    def _check_rate(self) -> None:
        size = self._message.size if self._message else 0
        if self._rate.is_too_slow(size, excused=self._paused):
            self._hang_up(trouble.TOO_SLOW)
        else:
            self._deadline.arm(self._limits.rate_window)

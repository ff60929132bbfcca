"""The SMTP client (RFC 5321, RFC 6409): carries messages over a connection that is signed on.

`smtp/sign_on.py` makes one.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from smtp.content import without_dots
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.opening import Line, opening
from smtp.reply import Reply
from smtp.session import Body, Envelope
from smtp.target import Credential, Timeouts
from smtp.wire import Wire

# Content is sent in pieces of at least this size, so that a small message and its dot leave in one
# packet.
_COALESCE = 16_384
_NO_8BIT = Reply(554, "5.6.3", "The next server does not take 8-bit content")
_NO_UTF8 = Reply(554, "5.6.7", "The next server does not take addresses or headers beyond ASCII")
_TOO_LARGE = Reply(552, "5.3.4", "The message is larger than the next server takes")


class Connection:
    """One session with a server. For one message at a time: `start_message`, `write`..., `finish`.

    After any SmtpFailure look at `reusable`: it is False as soon as there is doubt where the
    dialogue stands.
    """

    def __init__(
        self,
        wire: Wire,
        extensions: dict[str, str],
        credential: Credential | None,
        timeouts: Timeouts,
    ) -> None:
        """`extensions` are the keywords that the server announced, with their parameters."""
        self.extensions = extensions
        self._wire = wire
        self._credential = credential
        self._timeouts = timeouts
        self._is_idle = True
        self._answered_at = 0.0
        self._in_content = False
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._sent = 0
        self._tail = b""

    @property
    def tls_version(self) -> str | None:
        """ "TLSv1.3" and the like, or None."""
        return self._wire.tls_version

    @property
    def peer(self) -> str:
        """The address of the server."""
        return self._wire.peer

    @property
    def reusable(self) -> bool:
        """Whether another message may be started: open, idle, nothing said unasked."""
        return self._is_idle and self._wire.is_quiet

    @property
    def is_warm(self) -> bool:
        """Whether `send_whole` may be used: offered by the server, which answered just now."""
        return (
            self.extensions.keys() >= {"PIPELINING", "CHUNKING"}
            and self.reusable
            and asyncio.get_running_loop().time() - self._answered_at < self._timeouts.warm
        )

    @property
    def size_limit(self) -> int | None:
        """What the server announced as its limit (RFC 1870), in octets; None if nothing or 0."""
        words = self.extensions.get("SIZE", "").split()
        return (int(words[0]) or None) if words and words[0].isdecimal() else None

    async def start_message(
        self,
        sender: str,
        recipients: Sequence[str],
        *,
        size: int | None = None,
        body: Body = "7BIT",
        smtputf8: bool = False,
    ) -> None:
        """MAIL, RCPT and DATA, in one flight where the server allows it (RFC 2920); then `write`.

        All recipients or none: raises SmtpFailure for the first thing refused, and nothing has been
        sent to anybody.
        """
        self._check_fit(size, body, smtputf8=smtputf8)
        announced = size if "SIZE" in self.extensions else None
        lines = opening(sender, recipients, size=announced, body=body, smtputf8=smtputf8)
        self._is_idle = False
        refusal = await self._converse(lines)
        if refusal is None:
            self._in_content = True
            self._sent, self._tail = 0, b""
            return
        await self._recover(refusal)
        raise refusal

    async def try_sender(self, sender: str) -> None:
        """MAIL, then RSET: whether the server takes mail from `sender`. Raises SmtpFailure."""
        self._check_fit(None, "7BIT", smtputf8=False)
        mail, *_later = opening(sender, [], size=None, body="7BIT", smtputf8=False)
        self._is_idle = False
        refusal = mail.judge(await self._command(mail.encoded, mail.step))
        if refusal:
            await self._recover(refusal)
            raise refusal
        with contextlib.suppress(SmtpFailure):  # nothing depends on the answer
            await self.rset()

    async def write(self, chunk: bytes) -> None:
        """Send content that is dot-stuffed and has CRLF line ends; waits while the server is full.

        Raises SmtpFailure, also when the server answers before the end or goes away.
        """
        if not self._in_content:
            raise RuntimeError("no message has been started")
        self._sent += len(chunk)
        if (limit := self.size_limit) and self._sent > limit:
            self.abort()
            raise SmtpFailure(FailureKind.NOT_OFFERED, Step.CONTENT, reply=_TOO_LARGE)
        self._pending.append(chunk)
        self._pending_size += len(chunk)
        self._tail = (self._tail + chunk[-2:])[-2:]
        if self._pending_size >= _COALESCE:
            self._send_pending()
            await self._drain()
        if not self._wire.is_quiet:
            await self._break_off()

    async def finish(self) -> Reply:
        """Send the final dot; the server's answer, positive or not. Raises SmtpFailure."""
        if not self._in_content:
            raise RuntimeError("no message has been started")
        if not self._wire.is_quiet:
            await self._break_off()
        self._pending.append(b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n")
        self._send_pending()
        return await self._final_answer()

    async def send_whole(self, envelope: Envelope, content: bytes) -> Reply:
        """MAIL, RCPT and all content as the last chunk (RFC 3030) in one flight; the answer to it.

        `content` as `write` takes it, for one recipient; only while `is_warm`. Raises SmtpFailure:
        for MAIL or RCPT with the server's refusal, then nobody has got the message; at
        Step.FINAL_DOT as `finish` does.
        """
        chunk = without_dots(content)
        self._check_fit(len(chunk), envelope.body, smtputf8=envelope.smtputf8)
        *lines, _data = opening(
            envelope.sender,
            envelope.recipients,
            size=len(chunk) if "SIZE" in self.extensions else None,
            body=envelope.body,
            smtputf8=envelope.smtputf8,
        )
        commands = [line.encoded for line in lines]
        self._is_idle = False
        self._wire.send(b"\r\n".join([*commands, b"BDAT %d LAST" % len(chunk), chunk]))
        for line in lines:
            # Servers may keep their answers until they have read everything.
            refusal = line.judge(await self._reply(self._timeouts.final, Step.FINAL_DOT))
            if refusal:
                self.abort()
                raise refusal if refusal.reply else _out_of_step()
        return await self._final_answer()

    async def rset(self) -> Reply:
        """Back to before MAIL."""
        reply = await self._command(b"RSET", Step.OTHER)
        self._is_idle = reply.is_positive
        return reply

    async def quit(self) -> None:
        """Say goodbye, and close whatever the answer."""
        if not self.reusable:
            self.close()
            return
        self._is_idle = False
        with contextlib.suppress(SmtpFailure):  # nothing depends on the answer
            await self._command(b"QUIT", Step.OTHER)
        self._wire.close()

    def close(self) -> None:
        """Say goodbye without waiting for the answer; a dialogue under way is dropped."""
        if not self._is_idle:
            # QUIT could be taken for content behind a DATA whose answer we have not heard.
            self.abort()
            return
        self._is_idle = False
        self._wire.send(b"QUIT\r\n")
        self._wire.close()

    def abort(self) -> None:
        """Drop the connection, and with it a message under way."""
        self._is_idle = self._in_content = False
        self._pending.clear()
        self._wire.abort()

    def _check_fit(self, size: int | None, body: Body, *, smtputf8: bool) -> None:
        """Refuse what the server cannot take before it hears of it."""
        if not self.reusable:
            raise SmtpFailure(FailureKind.CONNECTION_LOST, Step.MAIL)
        if body == "8BITMIME" and "8BITMIME" not in self.extensions:
            raise SmtpFailure(FailureKind.NOT_OFFERED, Step.MAIL, reply=_NO_8BIT)
        if smtputf8 and "SMTPUTF8" not in self.extensions:
            raise SmtpFailure(FailureKind.NOT_OFFERED, Step.MAIL, reply=_NO_UTF8)
        if size and (limit := self.size_limit) and size > limit:
            raise SmtpFailure(FailureKind.NOT_OFFERED, Step.MAIL, reply=_TOO_LARGE)

    async def _final_answer(self) -> Reply:
        reply = await self._reply(self._timeouts.final, Step.FINAL_DOT)
        self._in_content = False
        if 300 <= reply.code < 400:
            self.abort()
            raise _out_of_step()
        self._is_idle = reply.code != 421
        self._answered_at = asyncio.get_running_loop().time()
        return reply

    async def _converse(self, lines: list[Line]) -> SmtpFailure | None:
        """Say the lines and hear the answers; the first refusal."""
        if "PIPELINING" in self.extensions:
            return await self._converse_pipelined(lines)
        for line in lines:
            if refusal := line.judge(await self._command(line.encoded, line.step)):
                return refusal
        return None

    async def _converse_pipelined(self, lines: list[Line]) -> SmtpFailure | None:
        self._wire.send(b"".join(line.encoded + b"\r\n" for line in lines))
        first: SmtpFailure | None = None
        for line in lines:
            try:
                reply = await self._reply(self._timeouts.command, line.step)
            except SmtpFailure as failure:
                return first or failure
            first = first or line.judge(reply)
            if first and line.step is Step.DATA and reply.code == 354:
                # A dot now would send an empty message to the recipients that were accepted.
                self.abort()
            if first and first.reply is None:
                break  # no answer that follows could be told whose it is
        return first

    async def _recover(self, refusal: SmtpFailure) -> None:
        """Make the connection fit for another message, or drop it."""
        if not self._wire.is_open:
            return
        if refusal.reply is None or refusal.reply.code == 421:
            self.abort()
            return
        try:
            await self.rset()
        except SmtpFailure:
            self.abort()  # the refusal is what matters

    def _send_pending(self) -> None:
        self._wire.send(b"".join(self._pending))
        self._pending.clear()
        self._pending_size = 0

    async def _drain(self) -> None:
        try:
            await self._wire.drain(self._timeouts.content, Step.CONTENT)
        except SmtpFailure:
            self.abort()
            raise

    async def _break_off(self) -> None:
        """The server has answered before the end of the message, or is gone."""
        try:
            reply = await self._reply(self._timeouts.command, Step.CONTENT)
        finally:
            self.abort()
        if reply.is_positive:
            raise SmtpFailure(FailureKind.CONNECTION_LOST, Step.CONTENT)
        raise SmtpFailure(FailureKind.REFUSED, Step.CONTENT, reply=reply)

    async def _command(self, line: bytes, step: Step) -> Reply:
        self._wire.send(line + b"\r\n")
        return await self._reply(self._timeouts.command, step)

    async def _reply(self, seconds: float, step: Step) -> Reply:
        try:
            reply = await self._wire.reply(seconds, step)
        except SmtpFailure:
            self.abort()
            raise
        return self._credential.redact(reply) if self._credential else reply


def _out_of_step() -> SmtpFailure:
    """The content has left, and the two sides no longer speak of the same command."""
    return SmtpFailure(FailureKind.CONNECTION_LOST, Step.FINAL_DOT)

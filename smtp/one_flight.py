"""A small message to one recipient: MAIL, RCPT and all of its content in one flight (RFC 3030).

One round trip instead of two. The price: where the server goes away without a word, nobody can
tell whether it has taken the message, so it is not tried again. Therefore only on a connection on
which the server has answered a moment ago, and not where a failure before the content has to lead
the message another way.
"""

from collections.abc import Hashable

from smtp.client import Connection
from smtp.failure import SmtpFailure, Step
from smtp.pool import ConnectionPool, Opener
from smtp.reply import Reply
from smtp.session import Envelope

LARGEST = 65_536  # octets of content; more is sent as it comes, and never held


class OneFlight:
    """Collects the content; becomes a message by DATA where it turns out not to fit."""

    def __init__(
        self,
        pool: ConnectionPool,
        key: Hashable,
        open_connection: Opener,
        warm: Connection,
        envelope: Envelope,
    ) -> None:
        self.tls_version = warm.tls_version
        self._pool = pool
        self._key = key
        self._open_connection = open_connection
        self._warm: Connection | None = warm
        self._started: Connection | None = None
        self._envelope = envelope
        self._content: list[bytes] = []
        self._size = 0
        self._has_left = False

    @classmethod
    def of(
        cls,
        pool: ConnectionPool,
        key: Hashable,
        open_connection: Opener,
        envelope: Envelope,
    ) -> "OneFlight | None":
        """None where the message or the server is not made for it, or no connection is warm."""
        if len(envelope.recipients) > 1 or (envelope.size or 0) > LARGEST:
            return None
        warm = pool.take_warm(key)
        return cls(pool, key, open_connection, warm, envelope) if warm else None

    @property
    def connection(self) -> Connection | None:
        """The one to be released afterwards; None while, or since, starting by DATA failed."""
        return self._started or self._warm

    async def write(self, chunk: bytes) -> None:
        """As `Connection.write`."""
        if self._started:
            await self._started.write(chunk)
            return
        self._content.append(chunk)
        self._size += len(chunk)
        if self._size > LARGEST:
            await self.start()

    async def settle(self) -> None:
        """All content has come: start by DATA if the connection is no longer warm.

        Behind this, `finish` sends what cannot be taken back without waiting for anything.
        """
        if self._warm and not self._warm.is_warm:
            await self.start()

    async def finish(self) -> Reply:
        """As `Connection.finish`; also raises what `Connection.start_message` does."""
        if self._warm:
            self._has_left = True
            reply = await self._warm.send_whole(self._envelope, b"".join(self._content))
            self._pool.on_start("kept")
            return reply
        if self._started:
            return await self._started.finish()
        raise RuntimeError("no message has been started")

    def may_start_again(self, failure: SmtpFailure) -> bool:
        """Whether the server only meant to end this connection (RFC 5321 3.8): nothing was sent."""
        ended = failure.reply is not None and failure.reply.code == 421
        return bool(self._warm) and ended and failure.step is Step.MAIL

    def abort(self) -> None:
        """Drop the connection, and with it the message; one that heard nothing of it stays fit."""
        if self.connection and (self._started or self._has_left):
            self.connection.abort()

    async def start(self) -> None:
        """Go on by DATA, on whatever connection the pool gives. Raises as its `start_message`."""
        if self._warm:
            # From here on it is the next message's.
            self._pool.release(self._key, self._warm)
            self._warm = None
        self._started = await self._pool.start_message(
            self._key, self._open_connection, self._envelope
        )
        for chunk in self._content:
            await self._started.write(chunk)
        self._content.clear()

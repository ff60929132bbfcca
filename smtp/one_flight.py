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
    """Collects the content; becomes a message by DATA where it turns out not to fit.

    `connection` is the one to be released afterwards; starting by DATA may take another.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        key: Hashable,
        open_connection: Opener,
        connection: Connection,
        envelope: Envelope,
    ) -> None:
        self.connection = connection
        self._pool = pool
        self._key = key
        self._open_connection = open_connection
        self._envelope = envelope
        self._content: list[bytes] = []
        self._size = 0
        self._by_data = False

    @property
    def tls_version(self) -> str | None:
        """As `Connection.tls_version`."""
        return self.connection.tls_version

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
        connection = pool.take_warm(key)
        return cls(pool, key, open_connection, connection, envelope) if connection else None

    async def write(self, chunk: bytes) -> None:
        """As `Connection.write`."""
        if self._by_data:
            await self.connection.write(chunk)
            return
        self._content.append(chunk)
        self._size += len(chunk)
        if self._size > LARGEST:
            await self.start()

    async def settle(self) -> None:
        """All content has come: start by DATA if the connection is no longer warm.

        Behind this, `finish` sends what cannot be taken back without waiting for anything.
        """
        if not self._by_data and not self.connection.is_warm:
            await self.start()

    async def finish(self) -> Reply:
        """As `Connection.finish`; also raises what `Connection.start_message` does."""
        if self._by_data:
            return await self.connection.finish()
        return await self.connection.send_whole(self._envelope, b"".join(self._content))

    def may_start_again(self, failure: SmtpFailure) -> bool:
        """Whether the server only meant to end this connection (RFC 5321 3.8): nothing was sent."""
        ended = failure.reply is not None and failure.reply.code == 421
        return not self._by_data and ended and failure.step is Step.MAIL

    async def start(self) -> None:
        """Go on by DATA, on whatever connection the pool gives. Raises as its `start_message`."""
        self._by_data = True
        self._pool.release(self._key, self.connection)
        self.connection = await self._pool.start_message(
            self._key, self._open_connection, self._envelope
        )
        for chunk in self._content:
            await self.connection.write(chunk)
        self._content.clear()

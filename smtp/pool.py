"""Connections kept for the next message, never shared between two keys."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Literal, NamedTuple

from smtp.client import Connection
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.session import Envelope

Opener = Callable[[], Awaitable[Connection]]
Kind = Literal["kept", "new"]


class _Kept(NamedTuple):
    """Whose an idle connection is, and what closes it in the end."""

    key: Hashable
    timer: asyncio.TimerHandle


class ConnectionPool:
    """At most `per_key` connections of one key, `per_server` of one server and `total` of all, idle
    ones included: a server that stalls leaves room for the others.

    A key stands for one credential on one route; what it is made of is the caller's business, and
    `server_of` says which server it leads to. `idle` is how long an unused connection is kept,
    `wait` how long to wait for a free place, in seconds. `on_start` hears on which kind of
    connection each message was started.
    Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        per_key: int = 10,
        per_server: int = 100,
        total: int = 400,
        idle: float = 30.0,
        wait: float = 30.0,
        server_of: Callable[[Any], Hashable] = lambda key: key,
        on_start: Callable[[Kind], None] | None = None,
    ) -> None:
        self._per_key = per_key
        self._per_server = per_server
        self._server_of = server_of
        self._total = total
        self._idle_seconds = idle
        self._wait_seconds = wait
        self.on_start = on_start or (lambda _kind: None)
        self._idle: dict[Hashable, list[Connection]] = {}
        self._kept: dict[Connection, _Kept] = {}  # the longest idle first
        self._places: Counter[Hashable] = Counter()
        self._at_server: Counter[Hashable] = Counter()
        self._waiters: deque[tuple[Hashable, asyncio.Future[None]]] = deque()
        self._closed = False

    async def start_message(
        self,
        key: Hashable,
        open_connection: Opener,
        envelope: Envelope,
    ) -> Connection:
        """A connection on which the message has been started; `release` it afterwards.

        A kept connection may have died without a sign. If it is gone before MAIL is answered, the
        message is started once more on a fresh one: nothing has been handed over yet, so nothing
        can be sent twice.
        """
        connection, kind = await self._acquire(key, open_connection, fresh=False)
        try:
            await self._start(key, connection, envelope)
        except SmtpFailure as failure:
            if kind == "new" or not _is_stale(failure):
                raise
            connection, kind = await self._acquire(key, open_connection, fresh=True)
            await self._start(key, connection, envelope)
        self.on_start(kind)
        return connection

    async def acquire(self, key: Hashable, open_connection: Opener) -> Connection:
        """A kept connection that shows no sign of death, else a new one.

        Raises SmtpFailure: what opening raises, or TIMEOUT at Step.POOL when no place became free.
        """
        return (await self._acquire(key, open_connection, fresh=False))[0]

    def take_warm(self, key: Hashable) -> Connection | None:
        """The connection used last, if its server has answered just now and takes `send_whole`."""
        connections = self._idle.get(key)
        if not connections or not connections[-1].is_warm:
            return None
        connection = connections[-1]
        self._forget_idle(connection)
        return connection

    def release(self, key: Hashable, connection: Connection) -> None:
        """Give back what was acquired; kept if it is fit for another message."""
        if connection.reusable and not self._closed:
            self._idle.setdefault(key, []).append(connection)
            timer = asyncio.get_running_loop().call_later(
                self._idle_seconds, self._expire, connection
            )
            self._kept[connection] = _Kept(key, timer)
        else:
            connection.close()
            self._free(key)
        self._wake()

    async def close(self) -> None:
        """Close the idle connections now, the others when they are released."""
        self._closed = True
        for connection in list(self._kept):
            self._expire(connection)
        await asyncio.sleep(0)  # lets the transports close

    async def _start(self, key: Hashable, connection: Connection, envelope: Envelope) -> None:
        try:
            await connection.start_message(
                envelope.sender,
                envelope.recipients,
                size=envelope.size,
                body=envelope.body,
                smtputf8=envelope.smtputf8,
            )
        except BaseException:
            self.release(key, connection)
            raise

    async def _acquire(
        self, key: Hashable, open_connection: Opener, *, fresh: bool
    ) -> tuple[Connection, Kind]:
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            if not fresh and (kept := self._take_idle(key)):
                return kept, "kept"
            if self._reserve(key):
                return await self._open(key, open_connection), "new"
            await self._wait(key, deadline)

    async def _open(self, key: Hashable, open_connection: Opener) -> Connection:
        try:
            return await open_connection()
        except BaseException:  # a sign-in that failed holds no place
            self._free(key)
            self._wake()
            raise

    def _take_idle(self, key: Hashable) -> Connection | None:
        """The connection used last, for it is the least likely to have timed out."""
        while connections := self._idle.get(key):
            connection = connections[-1]
            self._forget_idle(connection)
            if connection.reusable:
                return connection
            connection.close()
            self._free(key)
        return None

    def _reserve(self, key: Hashable) -> bool:
        """Take a place for a new connection, if need be that of an idle one."""
        if not self._has_room(key):
            oldest = self._replaceable(key)
            if oldest is None:
                return False
            self._expire(oldest)
        self._places[key] += 1
        self._at_server[self._server_of(key)] += 1
        return True

    def _has_room(self, key: Hashable) -> bool:
        return (
            self._places[key] < self._per_key
            and self._at_server[self._server_of(key)] < self._per_server
            and self._places.total() < self._total
        )

    def _replaceable(self, key: Hashable) -> Connection | None:
        """The connection that has been idle longest of those whose end makes room."""
        if self._places[key] >= self._per_key:
            return next(iter(self._idle.get(key, ())), None)
        server = self._server_of(key)
        is_full = self._at_server[server] >= self._per_server
        for connection, kept in self._kept.items():
            if not is_full or self._server_of(kept.key) == server:
                return connection
        return None

    async def _wait(self, key: Hashable, deadline: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        entry = (key, waiter)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except (TimeoutError, asyncio.CancelledError) as ended:
            if entry in self._waiters:
                self._waiters.remove(entry)
            else:
                self._wake()  # its turn has come too late, and goes to the next in line
            if isinstance(ended, TimeoutError):
                raise SmtpFailure(FailureKind.TIMEOUT, Step.POOL) from None
            raise

    def _wake(self) -> None:
        """Let the first one that could go on try again."""
        for entry in self._waiters:
            key, waiter = entry
            if not waiter.done() and (self._has_room(key) or self._replaceable(key)):
                self._waiters.remove(entry)
                waiter.set_result(None)
                return

    def _expire(self, connection: Connection) -> None:
        key = self._forget_idle(connection)
        connection.close()
        self._free(key)
        self._wake()

    def _forget_idle(self, connection: Connection) -> Hashable:
        key, timer = self._kept.pop(connection)
        timer.cancel()
        self._idle[key].remove(connection)
        if not self._idle[key]:
            del self._idle[key]
        return key

    def _free(self, key: Hashable) -> None:
        for places, name in ((self._places, key), (self._at_server, self._server_of(key))):
            places[name] -= 1
            if not places[name]:
                del places[name]


def _is_stale(failure: SmtpFailure) -> bool:
    """Whether it means that the server had closed an idle connection (RFC 5321 3.8)."""
    if failure.step is not Step.MAIL:
        return False
    if failure.reply is None:
        return failure.kind is FailureKind.CONNECTION_LOST
    return failure.reply.code == 421

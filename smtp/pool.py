"""Connections kept for the next message, never shared between two keys."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Literal

from smtp.client import Connection
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.session import Body

Opener = Callable[[], Awaitable[Connection]]
Acquired = Literal["kept", "new"]


class ConnectionPool:
    """At most `per_key` connections of one key and `total` of all, idle ones included.

    A key stands for one credential on one route; what it is made of is the caller's business.
    `idle` is how long an unused connection is kept, `wait` how long to wait for a free place, in
    seconds. `on_acquire` hears which kind of connection was acquired.
    Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        per_key: int = 10,
        total: int = 200,
        idle: float = 30.0,
        wait: float = 30.0,
        on_acquire: Callable[[Acquired], None] | None = None,
    ) -> None:
        self._per_key = per_key
        self._total = total
        self._idle_seconds = idle
        self._wait_seconds = wait
        self._on_acquire = on_acquire or (lambda _kind: None)
        self._idle: dict[Hashable, list[Connection]] = {}
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        self._places: Counter[Hashable] = Counter()
        self._waiters: deque[tuple[Hashable, asyncio.Future[None]]] = deque()
        self._closed = False

    async def start_message(
        self,
        key: Hashable,
        open_connection: Opener,
        sender: str,
        recipients: Sequence[str],
        *,
        size: int | None = None,
        body: Body = "7BIT",
        smtputf8: bool = False,
    ) -> Connection:
        """A connection on which the message has been started; `release` it afterwards.

        A kept connection may have died without a sign. If it is gone before MAIL is answered, the
        message is started once more on a fresh one: nothing has been handed over yet, so nothing
        can be sent twice.
        """

        async def start(connection: Connection) -> None:
            await connection.start_message(
                sender, recipients, size=size, body=body, smtputf8=smtputf8
            )

        connection, is_fresh = await self._acquire(key, open_connection, fresh=False)
        try:
            return await self._start(key, connection, start)
        except SmtpFailure as failure:
            if is_fresh or not _is_stale(failure):
                raise
        connection, _ = await self._acquire(key, open_connection, fresh=True)
        return await self._start(key, connection, start)

    async def acquire(self, key: Hashable, open_connection: Opener) -> Connection:
        """A kept connection that shows no sign of death, else a new one.

        Raises SmtpFailure: what opening raises, or TIMEOUT at Step.POOL when no place became free.
        """
        return (await self._acquire(key, open_connection, fresh=False))[0]

    def release(self, key: Hashable, connection: Connection) -> None:
        """Give back what was acquired; kept if it is fit for another message."""
        if connection.reusable and not self._closed:
            self._idle.setdefault(key, []).append(connection)
            self._timers[connection] = asyncio.get_running_loop().call_later(
                self._idle_seconds, self._expire, key, connection
            )
        else:
            connection.close()
            self._free(key)
        self._wake()

    async def close(self) -> None:
        """Close the idle connections now, the others when they are released."""
        self._closed = True
        for key, connections in list(self._idle.items()):
            for connection in list(connections):
                self._expire(key, connection)
        await asyncio.sleep(0)  # lets the transports close

    async def _start(
        self, key: Hashable, connection: Connection, start: Callable[[Connection], Awaitable[None]]
    ) -> Connection:
        try:
            await start(connection)
        except BaseException:
            self.release(key, connection)
            raise
        return connection

    async def _acquire(
        self, key: Hashable, open_connection: Opener, *, fresh: bool
    ) -> tuple[Connection, bool]:
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            if not fresh and (kept := self._take_idle(key)):
                self._on_acquire("kept")
                return kept, False
            if self._reserve(key):
                connection = await self._open(key, open_connection)
                self._on_acquire("new")
                return connection, True
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
            self._forget_idle(key, connection)
            if connection.reusable:
                return connection
            connection.close()
            self._free(key)
        return None

    def _reserve(self, key: Hashable) -> bool:
        """Take a place for a new connection, if need be that of an idle one."""
        if self._places[key] >= self._per_key:
            if not self._idle.get(key):
                return False
            self._expire(key, self._idle[key][0])
        elif self._places.total() >= self._total:
            if not self._timers:
                return False
            oldest = next(iter(self._timers))
            owner = next(name for name, kept in self._idle.items() if oldest in kept)
            self._expire(owner, oldest)
        self._places[key] += 1
        return True

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
            if not waiter.done() and (self._idle.get(key) or self._places[key] < self._per_key):
                self._waiters.remove(entry)
                waiter.set_result(None)
                return

    def _expire(self, key: Hashable, connection: Connection) -> None:
        self._forget_idle(key, connection)
        connection.close()
        self._free(key)
        self._wake()

    def _forget_idle(self, key: Hashable, connection: Connection) -> None:
        self._timers.pop(connection).cancel()
        self._idle[key].remove(connection)
        if not self._idle[key]:
            del self._idle[key]

    def _free(self, key: Hashable) -> None:
        self._places[key] -= 1
        if not self._places[key]:
            del self._places[key]


def _is_stale(failure: SmtpFailure) -> bool:
    """Whether it means that the server had closed an idle connection (RFC 5321 3.8)."""
    if failure.step is not Step.MAIL:
        return False
    if failure.reply is None:
        return failure.kind is FailureKind.CONNECTION_LOST
    return failure.reply.code == 421

"""PostgreSQL on the event loop: one connection, opened when it is needed and again after a fault.

Without threads, for what every message needs. Everything else goes through delivery/database.py.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer

SECONDS = 5.0  # no answer for so long counts as "away"
# Of Django's parameters, those that are about its own cursors.
DJANGOS_OWN = {"context", "cursor_factory", "prepare_threshold"}
ENCODING = "utf-8"
# A prepared statement keeps the plan of its first minutes, when a table may have been small. All
# of ours find a few rows by their keys, whatever the statistics say.
PLANS = "; ".join(
    f"SET {name} = off" for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
)
# With the last, a prepared statement is told that a migration has changed its table's columns.
_ENDINGS = (psycopg.OperationalError, psycopg.InterfaceError, errors.FeatureNotSupported)

Row = tuple[Any, ...]


class AwayError(Exception):
    """PostgreSQL can't be reached, or did not answer in time; what was asked may still happen."""


class Link:
    """Statements one after the other, each committed by itself and prepared once.

    `channel`: what to LISTEN to. Such a link may be spoken to unasked; see `call_when_spoken_to`.
    """

    def __init__(self, *, seconds: float = SECONDS, channel: str = "") -> None:
        self._seconds = seconds
        self._channel = channel
        self._lock = asyncio.Lock()
        self._line: _Line | None = None
        self._heard: Callable[[], None] | None = None

    async def fetch(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """The rows. `query` has PostgreSQL's own placeholders ($1, $2 ...), for which it knows the
        types.

        Raises AwayError, and psycopg.Error for what PostgreSQL refuses.
        """
        if self._lock.locked():
            await self._queue()
        else:
            await self._lock.acquire()
        try:
            return await self._fetch(query, parameters)
        except (*_ENDINGS, TimeoutError, OSError) as error:
            await self.close()
            raise AwayError(type(error).__name__) from None
        except psycopg.Error:
            raise
        except BaseException:  # an answer that nobody waits for any more must not meet the next
            await self.close()
            raise
        finally:
            self._lock.release()

    async def close(self) -> None:
        if self._line:
            line, self._line = self._line, None
            await line.close()

    def call_when_spoken_to(self, heard: Callable[[], None]) -> Callable[[], object]:
        """Call `heard` once PostgreSQL says something unasked; returns how to stop that."""
        self._heard = heard
        return self._stop_calling

    def _stop_calling(self) -> None:
        self._heard = None

    async def _queue(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise AwayError("busy") from None

    async def _fetch(self, query: str, parameters: Sequence[object]) -> list[Row]:
        if self._line and self._line.has_ended(spoken_to=bool(self._channel)):
            await self.close()
        if self._line is None:
            self._line = await self._open()
        line = self._line
        timer = asyncio.get_running_loop().call_later(self._seconds, line.cut)
        try:
            return await line.fetch(query, parameters)
        finally:
            timer.cancel()

    async def _open(self) -> "_Line":
        parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()
        own = {name: value for name, value in parameters.items() if name not in DJANGOS_OWN}
        async with asyncio.timeout(self._seconds):
            connection = await psycopg.AsyncConnection.connect(autocommit=True, **own)
            await connection.execute(PLANS)
            if self._channel:
                await connection.execute(f"LISTEN {self._channel}")
        return _Line(connection, self._on_word)

    def _on_word(self) -> None:
        if self._heard:
            self._heard()


class _Line:
    """One connection, spoken to by libpq's own calls (psycopg.pq).

    psycopg opens it and knows the types. Its cursors would cost a message more than all that is
    done here: four fifths of a statement's time on our side of it.
    """

    def __init__(
        self, connection: psycopg.AsyncConnection[Row], on_word: Callable[[], None]
    ) -> None:
        """`on_word` hears that PostgreSQL said something unasked."""
        self._connection = connection
        self._pg = connection.pgconn
        self._socket = self._pg.socket  # libpq forgets it when the connection breaks
        self._is_open = True
        self._types = Transformer(connection)
        self._on_word = on_word
        self._prepared: dict[str, bytes] = {}
        self._results: list[pq.abc.PGresult] = []
        self._answer: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._on_readable)

    def has_ended(self, *, spoken_to: bool) -> bool:
        """To an idle connection that is not `spoken_to` PostgreSQL says nothing but its end."""
        if spoken_to or not self._is_open:
            return not self._is_open
        idle = select.poll()
        idle.register(self._socket, select.POLLIN)
        return bool(idle.poll(0))

    async def fetch(self, query: str, parameters: Sequence[object]) -> list[Row]:
        name = self._prepared.get(query)
        if name is None:
            name = b"outgate_%d" % len(self._prepared)
            self._pg.send_prepare(name, query.encode())
            await self._wait()
            self._prepared[query] = name
        values = self._types.dump_sequence(parameters, [PyFormat.TEXT] * len(parameters))
        self._pg.send_query_prepared(name, values)
        result = await self._wait()
        self._types.set_pgresult(result)
        return self._types.load_rows(0, result.ntuples, tuple)

    def cut(self) -> None:
        """Let what is under way fail: to cancel it would wait for PostgreSQL again."""
        self._fail(psycopg.OperationalError("no answer in time"))

    async def close(self) -> None:
        """Whoever waits for an answer hears that there will be none."""
        self._end()
        if self._answer and not self._answer.done():
            self._answer.set_exception(psycopg.InterfaceError("closed"))
        await self._connection.close()

    async def _wait(self) -> pq.abc.PGresult:
        """The result of what was just sent."""
        answer = self._answer = self._loop.create_future()
        try:
            self._send()
            await answer
        finally:
            self._answer = None
            results, self._results = self._results, []
        result = results[-1]
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, ENCODING)
        return result

    def _send(self) -> None:
        """What does not fit into the socket goes when there is room."""
        if self._pg.flush():
            self._loop.add_writer(self._socket, self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._socket)
        try:
            self._send()
        except psycopg.OperationalError as error:
            self._fail(error)

    def _on_readable(self) -> None:
        try:
            self._pg.consume_input()
            is_word = self._answer is None
            while self._pg.notifies():
                is_word = True
            if is_word:
                self._on_word()
            if self._answer is None:
                return
            while not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:
                    if not self._answer.done():
                        self._answer.set_result(None)
                    return
                self._results.append(result)
            if self._pg.status != pq.ConnStatus.OK:  # it broke behind the first half of an answer
                raise psycopg.OperationalError("the connection is lost")
        except psycopg.OperationalError as error:
            self._fail(error)

    def _fail(self, error: psycopg.OperationalError) -> None:
        self._end()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
        else:
            self._on_word()

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_writer(self._socket)
            self._loop.remove_reader(self._socket)

"""PostgreSQL on the event loop: one connection, opened when it is needed and again after a fault.

Without threads, for what every message needs. Everything else goes through delivery/database.py.
"""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

SECONDS = 5.0  # no answer for so long counts as "away"
# Of Django's parameters, those that are about its own cursors.
DJANGOS_OWN = {"context", "cursor_factory", "prepare_threshold"}


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
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def fetch(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows. Raises AwayError, and psycopg.Error for what PostgreSQL refuses."""
        if self._lock.locked():
            await self._queue()
        else:
            await self._lock.acquire()
        try:
            return await self._fetch(query, parameters)
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, OSError) as error:
            await self.close()
            raise AwayError(type(error).__name__) from None
        finally:
            self._lock.release()

    async def close(self) -> None:
        if self._connection:
            connection, self._connection = self._connection, None
            await connection.close()

    def call_when_spoken_to(self, heard: Callable[[], None]) -> Callable[[], object]:
        """Call `heard` once PostgreSQL says something unasked; returns how to stop that.

        To be stopped before the next `fetch`, which reads from the same socket.
        """
        if self._connection is None:
            return lambda: None
        loop, number = asyncio.get_running_loop(), self._connection.fileno()
        loop.add_reader(number, heard)
        return partial(loop.remove_reader, number)

    async def _queue(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise AwayError("busy") from None

    async def _fetch(self, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._connection and not self._channel and _has_ended(self._connection):
            await self.close()
        if self._connection is None:
            self._connection = await self._open()
        timer = asyncio.get_running_loop().call_later(self._seconds, _cut, self._connection)
        try:
            cursor = await self._connection.execute(query, parameters, prepare=True)
            return await cursor.fetchall() if cursor.description else []
        finally:
            timer.cancel()

    async def _open(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()
        own = {name: value for name, value in parameters.items() if name not in DJANGOS_OWN}
        async with asyncio.timeout(self._seconds):
            connection = await psycopg.AsyncConnection.connect(autocommit=True, **own)
            if self._channel:
                # With a handler, or each notification is kept for one that may come.
                connection.add_notify_handler(lambda _: None)
                await connection.execute(f"LISTEN {self._channel}")
        return connection


def _has_ended(connection: psycopg.AsyncConnection[Any]) -> bool:
    """To an idle connection PostgreSQL says nothing but that it ends."""
    if connection.closed:
        return True
    idle = select.poll()
    idle.register(connection.fileno(), select.POLLIN)
    return bool(idle.poll(0))


def _cut(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let what is under way fail by itself: to cancel it would wait for PostgreSQL again."""
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

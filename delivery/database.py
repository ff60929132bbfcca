"""The bridge from the event loop to PostgreSQL: synchronous functions, on a few threads."""

import asyncio
import select
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection

SECONDS = 5.0  # no answer for so long counts as "away"
THREADS = 8  # each keeps one connection

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """Call it with a synchronous function and its arguments; awaits the result.

    Raises what the function raises, and TimeoutError where nothing came back within `SECONDS`.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = partial(_with_usable_connection, partial(function, *args, **kwargs))
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(self._threads, call), SECONDS)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def ask_whether_it_answers() -> None:
    """Raises django.db.Error where PostgreSQL does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _with_usable_connection(call: Callable[[], T]) -> T:
    _drop_if_ended()
    try:
        return call()
    finally:
        if connection.errors_occurred:
            # What broke is dropped now, not met by the next message.
            close_old_connections()


def _drop_if_ended() -> None:
    """Close a connection that PostgreSQL has ended, at no price for the others.

    To an idle connection it says nothing but that; Django's own check asks it each time.
    """
    raw = connection.connection
    if raw is None:
        return
    idle = select.poll()
    if not raw.closed:
        idle.register(raw.fileno(), select.POLLIN)
    if raw.closed or idle.poll(0):
        connection.close()

"""The bridge from the event loop to PostgreSQL: synchronous functions, on a few threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

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


def _with_usable_connection(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return call()
    finally:
        # A connection that broke meanwhile is dropped now, not met by the next message.
        close_old_connections()

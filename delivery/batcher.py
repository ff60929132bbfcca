"""Many small pieces of database work as few large ones, without making anybody wait for a timer."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from delivery.database import Database

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Call it with an item; awaits the result for it.

    `function` gets all items that came while it ran before, and returns one result for each; what
    it raises, each of them raises. Belongs to one event loop.
    """

    def __init__(
        self, database: Database, function: Callable[[list[T]], list[R]], *, limit: int = 100
    ) -> None:
        self._database = database
        self._function = function
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            batch = self._waiting[: self._limit]
            del self._waiting[: self._limit]
            try:
                results = await self._database(self._function, [item for item, _ in batch])
            except Exception as error:  # it belongs to those who wait
                for _, future in batch:
                    _settle(future, error=error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    _settle(future, result)
        self._task = None


def _settle(
    future: "asyncio.Future[R]", result: R | None = None, error: Exception | None = None
) -> None:
    if future.done():  # whoever waited was stopped
        return
    if error:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]

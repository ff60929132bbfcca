"""One timer for many short deadlines."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `on_expiry` once the moment set last has come.

    Moving it later, as nearly every command does, costs no new timer: the running one looks again
    when it fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def arm(self, seconds: float) -> None:
        """Expire in `seconds`, whatever was set before."""
        self._due = self._loop.time() + seconds
        if self._timer and self._timer.when() > self._due:
            self.cancel()
        if not self._timer:
            self._timer = self._loop.call_at(self._due, self._tick)

    def cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        # Some loops round the moment down, and would find the deadline a hair ahead for ever.
        if self._loop.time() < self._due - 0.001:
            self._timer = self._loop.call_at(self._due, self._tick)
        else:
            self._on_expiry()

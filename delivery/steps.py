"""The time that each step of a message took."""

import time

from delivery import metrics


class Steps:
    """How long each step of a message took, in milliseconds; see `Delivery.times`."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, name: str) -> None:
        """The step that began with the end of the last one."""
        now = time.monotonic()
        metrics.step_seconds(name).observe(now - self._since)
        self.times[name] = round(1000 * (now - self._since), 2)
        self._since = now

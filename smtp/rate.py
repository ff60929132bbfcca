"""How fast a client sends its message."""

from smtp.session import Limits


class RateWatch:
    """Compares what has arrived at the end of each window with what should have.

    A window in which we did not read for a while is none of the client's fault.
    """

    def __init__(self, limits: Limits) -> None:
        self._wanted = limits.bytes_per_second * limits.rate_window
        self._start = 0
        self._excused = False

    def begin(self, size: int) -> None:
        """A window begins, with `size` octets there already."""
        self._start = size

    def excuse(self) -> None:
        """We have stopped reading."""
        self._excused = True

    def is_too_slow(self, size: int, *, excused: bool) -> bool:
        """Ends the window, and begins the next; `excused` says that we do not read at present."""
        received, self._start = size - self._start, size
        was_excused, self._excused = self._excused, excused
        return not was_excused and received < self._wanted

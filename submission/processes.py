"""Several processes of one service, kept running by a small parent that does nothing else.

The parent forks what it has loaded, so that the processes share its memory; it has no event loop
and no thread, which a fork would leave half alive.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable

from submission.parent_death import signal_at_death_of_parent

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5  # seconds before a restart, doubled each time it ends soon again
LONGEST_PAUSE = 10.0
STEADY = 10.0  # after so many seconds of life, the next end counts as the first

_FORK = multiprocessing.get_context("fork")
_HEARD = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def keep_running(
    count: int, work: Callable[[], None], *, stop_seconds: float, on_end: Callable[[int], None]
) -> None:
    """Run `work` in `count` processes until SIGTERM or SIGINT; SIGHUP is passed on.

    A process that ends is started again. They get SIGTERM when we are asked to stop, or die; who
    takes longer than `stop_seconds` is killed. `on_end` hears the number of each that has ended.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    places = [_Place(work, on_end) for _ in range(count)]
    try:
        while True:
            for place in places:
                place.fill()
            heard = _wait_for_signal(min(place.seconds_to_wait() for place in places))
            if heard == signal.SIGHUP:
                _send(places, signal.SIGHUP)
            elif heard in (signal.SIGTERM, signal.SIGINT):
                return
    finally:
        _stop(places, stop_seconds)


class _Place:
    """Is taken by one process after the other."""

    def __init__(self, work: Callable[[], None], on_end: Callable[[int], None]) -> None:
        self._work = work
        self._on_end = on_end
        self._pause = FIRST_PAUSE
        self._started = self._start_at = time.monotonic()
        self._process: multiprocessing.process.BaseProcess | None = None

    @property
    def number(self) -> int | None:
        """The process that is alive here."""
        self._notice_end()
        return self._process.pid if self._process else None

    def fill(self) -> None:
        """Start a process if there is none and its time has come."""
        if self.number is None and time.monotonic() >= self._start_at:
            self._started = time.monotonic()
            self._process = _FORK.Process(target=_run, args=(os.getpid(), self._work))
            self._process.start()

    def seconds_to_wait(self) -> float:
        """For how long nothing is to be done here, unless a signal comes."""
        return 3600.0 if self._process else max(0.0, self._start_at - time.monotonic())

    def _notice_end(self) -> None:
        process = self._process
        if process is None or process.is_alive():
            return
        self._process = None
        self._on_end(process.pid or 0)
        if time.monotonic() - self._started > STEADY:
            self._pause = FIRST_PAUSE
        self._start_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        logger.info("process %s ended with status %s", process.pid, process.exitcode)


def _run(parent: int, work: Callable[[], None]) -> None:
    """The life of one process."""
    signal_at_death_of_parent(signal.SIGTERM)
    if os.getppid() != parent:
        return
    # Until `work` listens to it, a wish for a new certificate must not be the end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    work()


def _wait_for_signal(seconds: float) -> int | None:
    heard = signal.sigtimedwait(_HEARD, seconds)
    return heard.si_signo if heard else None


def _send(places: list[_Place], number: signal.Signals) -> None:
    for place in places:
        if process := place.number:
            os.kill(process, number)


def _stop(places: list[_Place], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    _send(places, signal.SIGTERM)
    while any(place.number for place in places) and (left := deadline - time.monotonic()) > 0:
        _wait_for_signal(left)
    _send(places, signal.SIGKILL)

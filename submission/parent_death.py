"""What becomes of a process when the one that started it dies (Linux)."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def signal_at_death_of_parent(sig: signal.Signals) -> None:
    """Have the kernel send this process `sig` when the process that started it dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(sig))

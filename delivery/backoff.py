"""When a message is tried again."""

import random

# Seconds: most faults are over in minutes; after them once an hour (RFC 5321 4.5.4.1 asks for at
# least 30 minutes between tries of one message, except for the first few).
_STEPS = (60, 300, 900, 1800)
_LATER = 3600
_JITTER = 0.2  # so that what failed together is not tried together


def seconds_until_retry(attempts: int) -> float:
    """`attempts` counts those made, so it is 1 after the first."""
    step = _STEPS[attempts - 1] if attempts <= len(_STEPS) else _LATER
    return step * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  (no secret)

"""What is counted and timed of messages, for Prometheus; docs/operations.md lists it."""

from collections.abc import Callable
from functools import cache
from typing import get_args

from prometheus_client import Counter, Histogram

from smtp.pool import Kind

CONNECTIONS = Counter(
    "outgate_upstream_connections",
    "Messages started at a server, by whether the connection was kept from an earlier one or new",
    ["pool", "kind"],
)
MESSAGES = Counter(
    "outgate_messages", "Messages that mail programs handed in", ["route", "outcome"]
)
STEP_SECONDS = Histogram(
    "outgate_message_step_seconds",
    "Time that one step of a message took",
    ["step"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
# To look a child up anew for each message would cost more than to count in it.
messages = cache(MESSAGES.labels)
step_seconds = cache(STEP_SECONDS.labels)
DECISION = step_seconds("decision")


def connection_counter(pool: str) -> Callable[[Kind], None]:
    """For a `ConnectionPool`'s `on_start`."""
    counters = {kind: CONNECTIONS.labels(pool, kind) for kind in get_args(Kind)}
    return lambda kind: counters[kind].inc()

"""What the submission service counts and times, for Prometheus; docs/operations.md lists it.

With several processes each writes to files of its own (prometheus_client's multi-process mode),
which is why a gauge has to say what the sum of several is.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

SESSIONS = Gauge(
    "outgate_sessions", "Connections of mail programs that are open", multiprocess_mode="livesum"
)
SIGN_INS = Counter("outgate_sign_ins", "Sign-ins of mail programs", ["outcome"])
CONNECTIONS = Counter(
    "outgate_upstream_connections",
    "Connections taken to carry a message, kept from an earlier message or new",
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

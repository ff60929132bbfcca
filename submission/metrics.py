"""What this service alone counts, for Prometheus; docs/operations.md lists it.

With several processes each writes to files of its own (prometheus_client's multi-process mode),
which is why a gauge has to say what the sum of several is.
"""

from prometheus_client import Counter, Gauge

SESSIONS = Gauge(
    "outgate_sessions", "Connections of mail programs that are open", multiprocess_mode="livesum"
)
SIGN_INS = Counter("outgate_sign_ins", "Sign-ins of mail programs", ["outcome"])

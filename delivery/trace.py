"""What log, metrics and reply tell of one message that a mail program hands in."""

import logging
import time
from uuid import UUID, uuid4

from delivery import metrics
from delivery.routing import Route
from smtp.reply import Reply
from smtp.session import MessageSink, Session

logger = logging.getLogger(__name__)

# Octets of a reply's last line to which the number is still added, and not put on one of its own.
LONG_LINE = 400


class Trace:
    """One message from its header block to the reply.

    Its number is that of its row in the delivery log, if it gets one.
    """

    def __init__(self, session: Session, account_id: UUID) -> None:
        self.number = str(uuid4())
        self.route: Route | None = None
        self._session = session
        self._account_id = account_id
        self._began = time.monotonic()
        self._ended = False

    def end(self, reply: Reply) -> Reply:
        """The reply as the mail program hears it: with the number to ask support for."""
        outcome = "accepted" if reply.is_positive else "refused"
        self._tell("deferred" if reply.is_transient else outcome, f"{reply.code} {reply.enhanced}")
        parting = "\n" if len(reply.text.rpartition("\n")[2]) > LONG_LINE else " "
        return reply._replace(text=f"{reply.text}{parting}(Outgate {self.number})".lstrip())

    def break_off(self) -> None:
        """The mail program is gone, or we are: nobody hears of it."""
        if not self._ended:
            self._tell("broken_off", "no reply")

    def _tell(self, outcome: str, answer: str) -> None:
        self._ended = True
        kind = self.route.kind.value if self.route else "none"
        metrics.messages(kind, outcome).inc()
        if not logger.isEnabledFor(logging.INFO):
            return
        server = self.route.server if self.route else None
        fields = {
            "session": self._session.id,
            "message": self.number,
            "account": str(self._account_id),
            "route": kind,
            "outcome": outcome,
            "answer": answer,
            "upstream": f"{server.host}:{server.port}" if server else "",
            "milliseconds": round(1000 * (time.monotonic() - self._began), 1),
        }
        logger.info(
            "session %(session)s: message %(message)s of account %(account)s %(outcome)s,"
            " %(answer)s; route %(route)s %(upstream)s, %(milliseconds)s ms",
            fields,
            extra={"fields": fields},
        )


class TracedSink:
    """Passes everything on to `sink`; whatever becomes of the message, `trace` hears of it once."""

    def __init__(self, sink: MessageSink, trace: Trace) -> None:
        self._sink = sink
        self._trace = trace

    async def write(self, chunk: bytes) -> Reply | None:
        refusal = await self._sink.write(chunk)
        return self._trace.end(refusal) if refusal else None

    async def finish(self) -> Reply:
        return self._trace.end(await self._sink.finish())

    async def abort(self) -> None:
        self._trace.break_off()
        await self._sink.abort()

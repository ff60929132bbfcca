"""Handing over one message of a mail program: its content as it comes, then the dot or not."""

from asyncio import shield
from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from django.db import Error as DatabaseError

from delivery.cache import AccountCache, AppPasswordRevokedError
from delivery.database import Database
from delivery.doubts import note_doubts
from delivery.failures import own_code
from delivery.headers import write_header
from delivery.limits import RecipientLimits, Taken
from delivery.link import AwayError
from delivery.log import DeliveryLog, Message
from delivery.models import Delivery
from delivery.routing import Route
from delivery.steps import Steps
from delivery.submitted import AWAY, REVOKED, Submission, protocol_of
from sendas.credentials import CredentialError
from sendas.models import SmtpMsa
from smtp.client import Connection
from smtp.failure import SmtpFailure, Step
from smtp.one_flight import OneFlight
from smtp.reply import Reply
from smtp.session import MessageSink

CHANGED = Reply(
    451, "4.7.1", "The rule for this address changed meanwhile. Nothing was sent. Send it again."
)
GONE = Reply(
    451, "4.7.1", "The server of this address was changed just now. Nothing was sent. Try again."
)
BROKEN_OFF = Reply(451, "4.3.0", "The mail program broke off. Nothing was sent.")
NOT_HEARD = Reply(
    451, "4.3.0", "The service ended before the server answered. It may have been sent."
)


class Way(NamedTuple):
    """Where a message goes, by which generation of the rules, and with which envelope sender."""

    route: Route
    generation: int
    envelope_sender: str


class Sender(Protocol):
    """What the sink has to ask: the relay that made it."""

    accounts: AccountCache
    database: Database
    limits: RecipientLimits
    log: DeliveryLog

    def explain(self, failure: SmtpFailure, message: Message, route: Route) -> Reply: ...

    def release(self, route: Route, connection: Connection) -> None: ...


class HandingOver:
    """The sink of one message: header first, then the body as it comes, then the dot or not.

    Where `carrier` is a OneFlight, everything leaves in the moment of the dot.
    """

    def __init__(
        self,
        relay: Sender,
        submission: Submission,
        message: Message,
        way: Way,
        carrier: Connection | OneFlight,
        steps: Steps,
        taken: Taken,
    ) -> None:
        self._relay = relay
        self._submission = submission
        self._message = message
        self._way = way
        self._route = way.route
        self._carrier = carrier
        self._steps = steps
        self._taken = taken
        self._size = 0
        self._dot_sent = False
        self._ended = False
        # The row is written while the body streams; it is awaited before the final dot.
        self._record = relay.log.hand_over(
            message,
            way.route,
            envelope_sender=way.envelope_sender,
            tls_version=carrier.tls_version or "",
        )

    async def announce(self) -> "MessageSink | Reply":
        """Write our header block; the sink itself, or a Reply where the server gave up."""
        session = self._submission.session
        try:
            header = write_header(
                self._submission.header,
                self._route,
                protocol=protocol_of(self._submission),
                tls=session.tls,
                trace=self._submission.trace.number,
            )
            return await self.write(header.encode()) or self
        except BaseException:  # nobody has the sink yet who could give the connection back
            await self.abort()
            raise

    async def write(self, chunk: bytes) -> Reply | None:
        self._size += len(chunk)
        return await self._try(self._carrier.write(chunk))

    async def finish(self) -> Reply:
        """The final dot: only if the log has the message and the decision is still the same."""
        self._steps.end("content")
        # Shielded, for the outcome is written to the row even when the service is stopped here.
        committed = self._record.committed
        if not (committed.result() if committed.done() else await shield(committed)):
            return self._end(AWAY)
        self._steps.end("log")
        carrier = self._carrier
        failed = await self._try(carrier.settle()) if isinstance(carrier, OneFlight) else None
        return failed or await self._send()

    async def _send(self) -> Reply:
        try:
            if not await self._is_still_right():
                return self._end(CHANGED)
        except AwayError:
            return self._end(AWAY)
        except AppPasswordRevokedError:
            return self._end(REVOKED)
        self._dot_sent = True
        try:
            reply = await self._carrier.finish()
        except SmtpFailure as failure:
            self._dot_sent = failure.step is Step.FINAL_DOT
            if isinstance(self._carrier, OneFlight) and self._carrier.may_start_again(failure):
                return await self._try(self._carrier.start()) or await self._send()
            return await self._give_up(failure)
        self._steps.end("dot")
        state = Delivery.State.DELIVERED if reply.is_positive else Delivery.State.REFUSED
        return self._end(reply._replace(code=own_code(reply)), state)

    async def _try(self, step: Awaitable[None]) -> Reply | None:
        """A Reply where it failed, and the message with it."""
        try:
            await step
        except SmtpFailure as failure:
            return await self._give_up(failure)
        except (SmtpMsa.DoesNotExist, CredentialError):
            return self._end(GONE)
        except (AwayError, DatabaseError, TimeoutError):
            return self._end(AWAY)
        return None

    async def abort(self) -> None:
        if self._dot_sent:
            self._end(NOT_HEARD, Delivery.State.HANDING_OVER)
        else:
            self._end(BROKEN_OFF)

    async def _is_still_right(self) -> bool:
        accounts, submission = self._relay.accounts, self._submission
        if accounts.holds(self._way.generation):
            return True
        again = await accounts.decide(submission.app_password.pk, submission.from_address)
        return isinstance(again.answer, Route) and again.answer.permits(self._route)

    async def _give_up(self, failure: SmtpFailure) -> Reply:
        message, relay = self._message, self._relay
        if failure.step in (Step.MAIL, Step.RCPT):
            sender = self._way.envelope_sender
            await note_doubts(relay.database, failure, self._route, message.user_id, sender)
        reply = relay.explain(failure, message, self._route)
        # Lost behind the final dot it may have been sent (RFC 1047): the log leaves that open.
        lost = failure.step == Step.FINAL_DOT and failure.reply is None
        return self._end(reply, Delivery.State.HANDING_OVER if lost else Delivery.State.REFUSED)

    def _end(self, reply: Reply, state: str = Delivery.State.REFUSED) -> Reply:
        """Give the connection back, unusable unless all is well with it; log what came of it."""
        if not self._ended:
            self._ended = True
            carrier = self._carrier
            if state != Delivery.State.DELIVERED:
                carrier.abort()
            connection = carrier.connection if isinstance(carrier, OneFlight) else carrier
            if connection:
                self._relay.release(self._route, connection)
            self._relay.log.finish(
                self._record, state=state, reply=reply, size=self._size, times=self._steps.times
            )
            if not self._dot_sent:
                self._relay.limits.give_back(self._taken)
        return reply

"""Cut-through: a message goes to the responsible server while the mail program still writes it.

Nothing is kept here. The mail program hears 250 only after that server said so; but where a unit
chose *hold and retry* for a server that does not work, see delivery/holding.py.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID, uuid4

from django.db import Error as DatabaseError

from accounts.models import AppPassword
from delivery import metrics
from delivery.cache import AccountCache, AppPasswordRevokedError, Decided
from delivery.database import Database
from delivery.doubts import note_doubts
from delivery.failures import explain_failure, may_pass, server_is_broken
from delivery.handing_over import GONE, HandingOver, Way
from delivery.headers import RESENT, complete_header
from delivery.holding import Holding, draft_of
from delivery.limits import RecipientLimits, Taken
from delivery.link import AwayError
from delivery.log import DeliveryLog, Message
from delivery.outbox import OutboxWriter
from delivery.routing import AccountSnapshot, Refusal, Route, RouteKind
from delivery.sign_in import GatewaySignIns
from delivery.steps import Steps
from delivery.submitted import AWAY, REVOKED, Submission
from delivery.trace import Trace
from delivery.upstreams import is_refused_password, open_outbound_gateway, pool_key
from sendas.credentials import CredentialError
from sendas.models import SmtpMsa
from sendas.upstream import open_relay
from smtp.address import AddressError, parse_from
from smtp.client import Connection
from smtp.failure import SmtpFailure
from smtp.header import HeaderBlock, HeaderError
from smtp.one_flight import OneFlight
from smtp.pool import ConnectionPool
from smtp.reply import Reply
from smtp.session import Envelope, MessageSink, Session

logger = logging.getLogger(__name__)

MAX_RECEIVED = 30  # a loop adds one each round (RFC 5321 6.3)

LOOP = Reply(554, "5.4.6", f"Mail loop: the message has over {MAX_RECEIVED} Received fields.")


class Relay:
    """Hands messages of signed-in sessions to the server that the decision names."""

    def __init__(
        self,
        pools: Mapping[RouteKind, ConnectionPool],
        database: Database,
        accounts: AccountCache,
        sign_ins: GatewaySignIns,
        log: DeliveryLog,
        limits: RecipientLimits,
    ) -> None:
        self.pools = pools
        self.database = database
        self.accounts = accounts
        self.sign_ins = sign_ins
        self.log = log
        self.limits = limits

    async def begin(
        self,
        session: Session,
        app_password: AppPassword,
        envelope: Envelope,
        header: HeaderBlock,
        trace: Trace,
    ) -> MessageSink | Reply:
        """Decide, connect and announce; the sink then takes the body. A Reply says why not."""
        try:
            from_address = header.from_mailbox(smtputf8=envelope.smtputf8).address
        except HeaderError as error:
            submission = Submission(session, app_password, envelope, header, "", trace)
            return self._refuse_unasked(submission, Reply(554, "5.6.0", f"{error}."))
        submission = Submission(
            session,
            app_password,
            envelope,
            complete_header(header, from_address),
            from_address,
            trace,
        )
        if header.received_count > MAX_RECEIVED:
            return self._refuse_unasked(submission, LOOP)
        try:
            with metrics.DECISION.time():
                decided = await self.accounts.decide(app_password.pk, from_address)
        except AwayError as error:
            logger.warning("%s database away: %s", session.id, error)
            return AWAY
        except AppPasswordRevokedError:
            return self._refuse_unasked(submission, REVOKED)
        account, answer = decided.account, decided.answer
        message = submission.describe(account.primary_address)
        if isinstance(answer, Refusal) and not answer.may_wait:
            return self.refuse(message, answer, answer.reply)
        if reply := _check_resent(header, account, smtputf8=envelope.smtputf8):
            return self.refuse(message, answer, reply)
        return await self._count(submission, message, answer, decided)

    async def _count(
        self, submission: Submission, message: Message, answer: Route | Refusal, decided: Decided
    ) -> MessageSink | Reply:
        """No server is asked to take a message whose recipients are too many."""
        try:
            taken = await self.limits.take(
                message.user_id, len(message.recipients), decided.allowance
            )
        except (AwayError, DatabaseError, TimeoutError):
            return AWAY
        if isinstance(taken, Reply):
            return self.refuse(message, answer, taken)
        sink: MessageSink | Reply | None = None
        try:
            if isinstance(answer, Route):
                sink = await self._open(submission, message, answer, decided.generation, taken)
            else:
                self.refuse(message, answer, answer.reply)
                sink = self._hold(submission, message, taken)
        finally:
            if sink is None or isinstance(sink, Reply):
                self.limits.give_back(taken)
        return sink

    async def _open(
        self,
        submission: Submission,
        message: Message,
        route: Route,
        generation: int,
        taken: Taken,
    ) -> MessageSink | Reply:
        envelope = submission.envelope
        submission.trace.route = route
        steps = Steps()

        async def connect() -> Connection:
            connection = await self._connect(route)
            steps.end("connect")
            return connection

        # A read receipt keeps its null reverse-path on every route (RFC 3798 section 2.1).
        sender = route.envelope_sender if envelope.sender else ""
        outgoing = replace(envelope, sender=sender, smtputf8=submission.needs_smtputf8)
        pool, key = self.pools[route.kind], pool_key(route)
        carrier: Connection | OneFlight | None = None
        try:
            # A second way, or a place in the outbox, is for what fails before content has left.
            if not (route.instead or route.may_wait):
                carrier = OneFlight.of(pool, key, connect, outgoing)
            carrier = carrier or await pool.start_message(key, connect, outgoing)
        except SmtpFailure as failure:
            if route.instead and server_is_broken(failure):
                # The number that the mail program hears belongs to the row of the second way.
                first = message._replace(number=str(uuid4()))
                self.refuse(first, route, self.explain(failure, first, route))
                return await self._open(submission, message, route.instead, generation, taken)
            await note_doubts(self.database, failure, route, message.user_id, sender)
            reply = self.refuse(message, route, self.explain(failure, message, route))
            if route.may_wait and may_pass(failure):
                return self._hold(submission, message, taken)
            return reply
        except (SmtpMsa.DoesNotExist, CredentialError):
            return self.refuse(message, route, GONE)
        except (AwayError, DatabaseError, TimeoutError):
            return AWAY
        steps.end("start")
        sink = HandingOver(
            self, submission, message, Way(route, generation, sender), carrier, steps, taken
        )
        return await sink.announce()

    def _hold(self, submission: Submission, message: Message, taken: Taken) -> MessageSink:
        draft = draft_of(submission, message.account_address)
        writer = OutboxWriter(draft, UUID(message.number))
        return Holding(self, submission, writer, lambda: self.limits.give_back(taken))

    async def _connect(self, route: Route) -> Connection:
        if route.is_relay:
            return await open_relay()
        if route.kind == RouteKind.DEFAULT or route.credential_id is None:
            return await open_outbound_gateway(route, self.database)
        return await self.sign_ins.open(route, route.credential_id)

    def release(self, route: Route, connection: Connection) -> None:
        self.pools[route.kind].release(pool_key(route), connection)

    def explain(self, failure: SmtpFailure, message: Message, route: Route) -> Reply:
        """What the mail program hears of a failure."""
        if is_refused_password(failure, route):
            self.accounts.doubt()  # it is on record: the next message must not go that way
        return explain_failure(failure, route, message.from_address)

    def refuse(self, message: Message, answer: Route | Refusal, reply: Reply) -> Reply:
        self.log.refuse(message, answer, reply)
        return reply

    def _refuse_unasked(self, submission: Submission, reply: Reply) -> Reply:
        """A refusal that no decision was needed for."""
        address = submission.app_password.user.primary_address
        self.log.refuse(submission.describe(address), None, reply)
        return reply


def _check_resent(header: HeaderBlock, account: AccountSnapshot, *, smtputf8: bool) -> Reply | None:
    """Resent fields may name the account's addresses only (RFC 6409 section 6.1)."""
    for body in (body for name in RESENT for body in header.get_all(name)):
        try:
            address = parse_from(body, smtputf8=smtputf8).address
        except AddressError as error:
            return Reply(554, "5.6.0", f"Resent field: {error}.")
        if not account.owns(address):
            return Reply(550, "5.7.1", f"{address} in a Resent field is not one of your addresses.")
    return None

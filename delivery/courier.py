"""Carries what is due in the outbox: many messages at once over pooled connections.

One run belongs to one event loop of one worker process. PostgreSQL alone knows what is due; killed
at any point, a run leaves rows behind that are due again when its claims end.
"""

import asyncio
import contextlib
import logging
import traceback
from functools import partial

from django.db import Error as DatabaseError
from prometheus_client import Counter, Gauge

from delivery import queue
from delivery.backoff import seconds_until_retry
from delivery.batcher import Batcher
from delivery.database import Database
from delivery.decisions import Decisions
from delivery.doubts import note_doubts
from delivery.failures import (
    Sentence,
    explain_failure,
    may_pass,
    own_code,
    say,
    server_is_broken,
)
from delivery.headers import route_header
from delivery.models import Delivery, OutboxMessage
from delivery.outbox import Content, read_chunk
from delivery.queue import Handed, HandOver, Job, Outcome
from delivery.routing import Refusal, Route
from delivery.sealing import ContentError
from delivery.steps import Steps
from delivery.upstreams import Upstreams, is_refused_password
from sendas.credentials import CredentialError
from sendas.models import SmtpMsa
from smtp.client import Connection
from smtp.failure import SmtpFailure
from smtp.header import HeaderBlock
from smtp.reply import Reply
from smtp.session import Envelope

logger = logging.getLogger(__name__)

AT_ONCE = 50  # messages of one run
CLAIM_SECONDS = 20.0  # a run takes new messages for so long; then the next one has its turn
AWAY_SECONDS = 1.0  # PostgreSQL is asked again after so long

State = OutboxMessage.State

# For Prometheus, beside delivery/metrics.py: here alone, so that submission does not show them.
ATTEMPTS = Counter(
    "outgate_outbox_attempts", "Attempts to send a message of the outbox", ["route", "outcome"]
)
UNDER_WAY = Gauge(
    "outgate_outbox_under_way",
    "Messages of the outbox that are being sent",
    multiprocess_mode="livesum",
)

FAULT = Reply(451, "4.3.0", say(Sentence.FAULT, Sentence.WE_TRY_AGAIN))
AWAY = Reply(451, "4.3.0", say(Sentence.DATABASE_AWAY, Sentence.WE_TRY_AGAIN))
CHANGED = Reply(451, "4.7.1", say(Sentence.RULE_CHANGED, Sentence.WE_TRY_AGAIN))
GONE = Reply(451, "4.7.1", say(Sentence.SERVER_CHANGED, Sentence.WE_TRY_AGAIN))
UNREADABLE = Reply(554, "5.3.0", say(Sentence.UNREADABLE))
OVERDUE = Reply(554, "5.4.7", say(Sentence.OVERDUE))


class Courier:
    """`run` claims and carries for a while; returns when nothing is due or its time is over."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decisions = Decisions()
        self._upstreams = Upstreams(database)
        self._hand_over: Batcher[HandOver, Handed] = Batcher(
            database, partial(queue.hand_over, self._decisions)
        )
        self._settle: Batcher[Outcome, str] = Batcher(database, queue.settle)
        self._running: dict[asyncio.Task[None], OutboxMessage] = {}

    async def run(self, seconds: float = CLAIM_SECONDS) -> None:
        until = asyncio.get_running_loop().time() + seconds
        keeping = asyncio.create_task(self._keep_claims())
        try:
            while True:
                if asyncio.get_running_loop().time() < until:
                    await self._take()
                if not self._running:
                    return
                # Not for all: a slow server must not keep the others' messages waiting.
                await asyncio.wait(self._running, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            keeping.cancel()
            await self._upstreams.close()

    async def _take(self) -> None:
        room = AT_ONCE - len(self._running)
        if room < AT_ONCE // 2:
            return
        try:
            jobs = await self._database(queue.take, self._decisions, room)
        except (DatabaseError, TimeoutError) as error:
            # Those under way go on: cut off behind its dot, a message would be sent twice.
            logger.warning("nothing taken from the outbox: %s", type(error).__name__)
            return
        for job in jobs:
            task = asyncio.create_task(self._carry(job))
            self._running[task] = job.message
            task.add_done_callback(self._running.pop)

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(queue.CLAIM_SECONDS / 4)
            with contextlib.suppress(DatabaseError, TimeoutError):  # asked again soon enough
                await self._database(queue.keep_claims, list(self._running.values()))

    async def _carry(self, job: Job) -> None:
        """One attempt, and what came of it on record, however long that takes."""
        with UNDER_WAY.track_inprogress():
            await self._carry_and_settle(job)

    async def _carry_and_settle(self, job: Job) -> None:
        try:
            outcome = await self._attempt(job)
        except Exception as error:  # a fault with one message must not end the others
            frames = traceback.extract_tb(error.__traceback__)
            where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames[-3:])
            logger.error("outbox %s: %s at %s", job.message.pk, type(error).__name__, where)
            outcome = _later(job, FAULT)
        while outcome:
            try:
                state = await self._settle(outcome)
            except (DatabaseError, TimeoutError) as error:
                logger.warning("outbox %s not settled: %s", job.message.pk, type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)
            else:
                ATTEMPTS.labels(_route_of(outcome.job), state).inc()
                return

    async def _attempt(self, job: Job) -> Outcome | None:
        """None where the message is no longer ours."""
        if job.is_overdue:
            return Outcome(job, State.FAILED, OVERDUE)
        if isinstance(job.answer, Refusal):
            return _refused(job, job.answer)
        if job.first is None:
            return Outcome(job, State.FAILED, UNREADABLE)
        return await self._start(job, job.answer, job.first)

    async def _start(self, job: Job, route: Route, first: Content) -> Outcome | None:
        sender = "" if job.message.null_sender else route.envelope_sender
        envelope = Envelope(
            sender,
            job.message.recipients,
            size=job.message.size,
            body="8BITMIME" if job.message.is_8bit else "7BIT",
            smtputf8=job.message.needs_smtputf8,
        )
        steps = Steps()
        try:
            connection = await self._upstreams.start_message(route, envelope)
        except SmtpFailure as failure:
            if route.instead and server_is_broken(failure):
                return await self._start(job._replace(answer=route.instead), route.instead, first)
            await note_doubts(self._database, failure, route, job.message.account_id, sender)
            return _failed(job, route, failure)
        except (SmtpMsa.DoesNotExist, CredentialError):
            return _later(job, GONE)
        except (DatabaseError, TimeoutError):
            return _later(job, AWAY, is_logged=False)
        steps.end("start")
        return await self._send(job, route, connection, sender, first, steps)

    async def _send(
        self,
        job: Job,
        route: Route,
        connection: Connection,
        sender: str,
        first: Content,
        steps: Steps,
    ) -> Outcome | None:
        delivered = False
        try:
            size = await self._write(job, route, connection, first)
            steps.end("content")
            tls = connection.tls_version or ""
            handed = await self._hand_over(HandOver(job, route, sender, tls, size))
            if handed.delivery_id is None:
                return _changed(job, handed)
            steps.end("log")
            try:
                reply = await connection.finish()
            except SmtpFailure as failure:
                outcome = _lost(job, route, failure)
            else:
                steps.end("dot")
                delivered = reply.is_positive
                outcome = _answered(job, reply)
            return outcome._replace(delivery_id=handed.delivery_id, times=steps.times)
        except SmtpFailure as failure:
            return _failed(job, route, failure)
        except ContentError:
            return Outcome(job, State.FAILED, UNREADABLE)
        except (DatabaseError, TimeoutError):
            return _later(job, AWAY, is_logged=False)
        finally:
            if not delivered:
                connection.abort()
            self._upstreams.release(route, connection)

    async def _write(self, job: Job, route: Route, connection: Connection, first: Content) -> int:
        """Everything but the dot."""
        raw, empty, body = first.content.partition(b"\r\n\r\n")
        header = route_header(HeaderBlock.parse(raw + empty[:2]), route).encode()
        size = len(header)
        await connection.write(header)
        content, number = Content(body, first.is_last), 0
        while True:
            size += len(content.content)
            await connection.write(content.content)
            if content.is_last:
                return size
            number += 1
            content = await self._database(read_chunk, job.message.pk, number)


def _route_of(job: Job) -> str:
    return job.answer.kind.value if isinstance(job.answer, Route) else "none"


def _failed(job: Job, route: Route, failure: SmtpFailure) -> Outcome:
    """Before the dot: nobody has got the message."""
    reply = explain_failure(failure, route, job.message.from_address)
    if is_refused_password(failure, route):
        return _held(job, route, reply)
    return _later(job, reply) if may_pass(failure) else Outcome(job, State.FAILED, reply)


def _refused(job: Job, refusal: Refusal) -> Outcome:
    if refusal.credential_id:  # its owner can mend that
        return _later(job, refusal.reply, is_logged=False)._replace(
            state=State.HELD, credential_id=refusal.credential_id
        )
    return Outcome(job, State.FAILED, refusal.reply)


def _later(job: Job, reply: Reply, *, is_logged: bool = True) -> Outcome:
    delay = seconds_until_retry(job.message.attempts)
    return Outcome(job, State.WAITING, reply, is_logged=is_logged, delay=delay)


def _held(job: Job, route: Route, reply: Reply) -> Outcome:
    return _later(job, reply)._replace(state=State.HELD, credential_id=route.credential_id)


def _changed(job: Job, handed: Handed) -> Outcome | None:
    """At once by the new rule; None where another worker has the message."""
    if handed.answer is None:
        return None
    return Outcome(job, State.WAITING, CHANGED)


def _lost(job: Job, route: Route, failure: SmtpFailure) -> Outcome:
    """Without an answer to the dot it may have been sent (RFC 1047): it is sent again.

    The other choice is to lose it. The recipient can tell by the Message-ID, which is the same.
    """
    reply = explain_failure(failure, route, job.message.from_address)
    state = Delivery.State.REFUSED if failure.reply else Delivery.State.HANDING_OVER
    return _later(job, reply)._replace(delivery_state=state)


def _answered(job: Job, reply: Reply) -> Outcome:
    if reply.is_positive:
        return Outcome(job, State.SENT, reply, Delivery.State.DELIVERED)
    reply = reply._replace(code=own_code(reply))
    return Outcome(job, State.FAILED, reply) if reply.is_permanent else _later(job, reply)

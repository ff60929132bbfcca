"""The outbox, from the side of a worker: claim, decide, hand over, settle. All synchronous.

Each claim raises `attempts`, and nothing is done under an old number: a worker that was thought
dead, and is not, neither sends nor overwrites.
"""

import json
import logging
import traceback
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models.functions import Now

from delivery.decisions import Answer, Decisions
from delivery.models import Delivery, DeliveryRecipient, OutboxChunk, OutboxMessage
from delivery.outbox import Content, open_chunk
from delivery.report import report_failure
from delivery.routing import Route
from delivery.sealing import ContentError
from smtp.reply import Reply

logger = logging.getLogger(__name__)

# A worker renews its claims several times within this; the rows of a dead one are due again then.
CLAIM_SECONDS = 60

INTERRUPTED = "The worker ended before the server answered. It may have been sent: sent once more."


class Job(NamedTuple):
    """A claimed message, and where it goes.

    `first` is the beginning of its content, None where it can't be read. `is_overdue`: its time is
    over, and the last worker that had it died.
    """

    message: OutboxMessage
    answer: Answer
    first: Content | None
    is_overdue: bool = False


class Claim(NamedTuple):
    message: OutboxMessage
    was_interrupted: bool
    has_expired: bool


class HandOver(NamedTuple):
    """A message whose content is with the server, and whose dot is about to follow."""

    job: Job
    route: Route
    envelope_sender: str
    tls_version: str
    size: int


class Handed(NamedTuple):
    """`delivery_id` is the row in the log; None: the dot must not be sent.

    Then either the rules have changed, and `answer` is the new decision, or the claim was lost.
    """

    delivery_id: UUID | None
    answer: Answer | None = None


class Outcome(NamedTuple):
    """How an attempt ended. `state` is the message's, `delivery_state` that of the log.

    `delivery_id` is None where nothing was handed over; `is_logged` says whether that is worth a
    row of its own. `times` of what was handed over: see `Delivery.times`. `delay` in seconds, until
    the next attempt.
    """

    job: Job
    state: str
    reply: Reply
    delivery_state: str = Delivery.State.REFUSED
    delivery_id: UUID | None = None
    is_logged: bool = True
    times: Mapping[str, float] = MappingProxyType({})
    delay: float = 0.0
    size: int = 0
    credential_id: UUID | None = None


def count_due(limit: int) -> int:
    """How many are due, up to `limit`: counting all of a long queue would take its time."""
    return OutboxMessage.objects.due().values("pk")[:limit].count()


def take(decisions: Decisions, limit: int) -> list[Job]:
    """Claim what is due, with its content's beginning, and decide how each goes."""
    claims = claim(limit)
    messages = [each.message for each in claims]
    answers = decisions.ask(messages)
    chunks = OutboxChunk.objects.filter(message__in=messages, number=0)
    first = {row.message_id: row for row in chunks}
    return [
        Job(
            each.message,
            answer,
            _open(first.get(each.message.pk)),
            # Whatever it is that ends the workers, it does not do so for ever.
            is_overdue=each.was_interrupted and each.has_expired,
        )
        for each, answer in zip(claims, answers, strict=True)
    ]


def _open(row: OutboxChunk | None) -> Content | None:
    try:
        return open_chunk(row) if row else None
    except ContentError:
        return None


def claim(limit: int) -> list[Claim]:
    """Take what is due for this worker, and say of what another left that it may have been sent."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH due AS MATERIALIZED (
                    SELECT id, state FROM delivery_outboxmessage
                     WHERE state IN ('waiting', 'sending', 'held') AND next_attempt_at <= now()
                     ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED)
                UPDATE delivery_outboxmessage message
                   SET state = 'sending', attempts = attempts + 1,
                       next_attempt_at = now() + make_interval(secs => %s)
                  FROM due WHERE message.id = due.id
                RETURNING message.id, due.state = 'sending', message.expires_at <= now()
                """,
                [limit, CLAIM_SECONDS],
            )
            found = cursor.fetchall()
        rows = OutboxMessage.objects.in_bulk([row[0] for row in found])
        claims = [Claim(rows[pk], interrupted, expired) for pk, interrupted, expired in found]
        Delivery.objects.filter(
            outbox_message__in=[each.message.pk for each in claims if each.was_interrupted],
            state=Delivery.State.HANDING_OVER,
            finished_at=None,
        ).update(reply=INTERRUPTED, finished_at=Now())
    return claims


def keep_claims(messages: Iterable[OutboxMessage]) -> None:
    """Tell that the worker lives."""
    _renew(list(messages))


def _renew(messages: Sequence[OutboxMessage]) -> set[UUID]:
    """The ids of those that are still ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE delivery_outboxmessage message
               SET next_attempt_at = now() + make_interval(secs => %s)
              FROM unnest(%s::uuid[], %s::int[]) AS claim(id, attempts)
             WHERE message.id = claim.id AND message.attempts = claim.attempts
               AND message.state = 'sending'
            RETURNING message.id
            """,
            [CLAIM_SECONDS, [row.pk for row in messages], [row.attempts for row in messages]],
        )
        return {row[0] for row in cursor.fetchall()}


def hand_over(decisions: Decisions, batch: list[HandOver]) -> list[Handed]:
    """Commit to the log what is about to get its dot: only if it is ours and goes the same way."""
    with transaction.atomic():
        # Behind the lock, so that nothing but the commit lies between the rules and the dot.
        ours = _renew([each.job.message for each in batch])
        answers = decisions.ask([each.job.message for each in batch])
        handed = []
        rows = []
        for each, answer in zip(batch, answers, strict=True):
            if each.job.message.pk not in ours:
                handed.append(Handed(None))
            elif not (isinstance(answer, Route) and answer.permits(each.route)):
                handed.append(Handed(None, answer))
            else:
                row = _delivery(each.job, each.route)
                row.state = Delivery.State.HANDING_OVER
                row.envelope_sender = each.envelope_sender
                row.sender = each.route.sender
                row.tls_version = each.tls_version
                row.size = each.size
                rows.append(row)
                handed.append(Handed(row.pk))
        _log(rows)
    return handed


def settle(batch: list[Outcome]) -> list[str]:
    """Write down how attempts ended, and tell the authors of what has failed for good.

    Returns the state into which each brought its message, "lost" where it was no longer ours.

    A message that would be tried again beyond its time has failed. That one was sent is true
    whoever has claimed it meanwhile, so it is written down in any case. Of what failed, content
    that can be read and lies nowhere else is kept (OutboxMessage.CONTENT_KEPT).
    """
    with transaction.atomic():
        _log_outcomes(batch)
        states, kept = _move(batch), set()
        failed = [o for o in batch if states.get(o.job.message.pk) == OutboxMessage.State.FAILED]
        for outcome in failed:
            message, first = outcome.job.message, outcome.job.first
            is_kept = message.is_written_here and first is not None
            _report(outcome, is_kept=is_kept)
            if is_kept:
                kept.add(message.pk)
        ended = (OutboxMessage.State.SENT, OutboxMessage.State.FAILED)
        gone = [message_id for message_id, state in states.items() if state in ended]
        OutboxChunk.objects.filter(message__in={*gone} - kept).delete()
    return [states.get(outcome.job.message.pk, "lost") for outcome in batch]


def _report(outcome: Outcome, *, is_kept: bool) -> None:
    message, first = outcome.job.message, outcome.job.first
    content = first.content if first else b""
    try:
        report_failure(message, outcome.reply, content, is_kept=is_kept)
    except DatabaseError:
        raise
    except Exception as error:  # without it nothing of the batch would end, and all be sent again
        frames = traceback.extract_tb(error.__traceback__)
        where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames[-3:])
        logger.error("outbox %s: no report, %s at %s", message.pk, type(error).__name__, where)


def _log_outcomes(batch: Sequence[Outcome]) -> None:
    handed = [outcome for outcome in batch if outcome.delivery_id]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE delivery_delivery delivery
               SET state = known.state, reply = known.reply, times = known.times,
                   finished_at = now()
              FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::jsonb[])
                AS known(id, state, reply, times)
             WHERE delivery.id = known.id
            """,
            [
                [outcome.delivery_id for outcome in handed],
                [outcome.delivery_state for outcome in handed],
                [str(outcome.reply)[:1000] for outcome in handed],
                [json.dumps(dict(outcome.times)) for outcome in handed],
            ],
        )
    rows = []
    for outcome in batch:
        if outcome.delivery_id is None and outcome.is_logged:
            row = _delivery(outcome.job, outcome.job.answer)
            row.state = Delivery.State.REFUSED
            row.reply = str(outcome.reply)[:1000]
            row.finished_at = Now()
            rows.append(row)
    _log(rows)


def _move(batch: Sequence[Outcome]) -> dict[UUID, str]:
    """Bring the messages into their new states; those that were ours, with their state."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH known AS (
                SELECT outcome.*,
                       CASE WHEN outcome.state IN ('waiting', 'held') AND now() >= row.expires_at
                            THEN 'failed' ELSE outcome.state END AS becomes
                  FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::float[],
                              %s::uuid[])
                       AS outcome(id, attempts, state, reply, delay, credential_id)
                  JOIN delivery_outboxmessage row ON row.id = outcome.id)
            UPDATE delivery_outboxmessage message
               SET state = known.becomes, last_reply = known.reply,
                   credential_id = known.credential_id,
                   next_attempt_at = LEAST(message.expires_at,
                                           now() + make_interval(secs => known.delay)),
                   finished_at = CASE WHEN known.becomes IN ('sent', 'failed') THEN now() END
              FROM known
             WHERE message.id = known.id
               AND (message.state = 'sending' AND message.attempts = known.attempts
                    OR message.state IN ('waiting', 'sending', 'held') AND known.becomes = 'sent')
            RETURNING message.id, message.state
            """,
            [
                [outcome.job.message.pk for outcome in batch],
                [outcome.job.message.attempts for outcome in batch],
                [outcome.state for outcome in batch],
                [str(outcome.reply)[:1000] for outcome in batch],
                [outcome.delay for outcome in batch],
                [outcome.credential_id for outcome in batch],
            ],
        )
        return dict(cursor.fetchall())


def _delivery(job: Job, answer: Answer) -> Delivery:
    """A row for the log about an attempt; what became of it is the caller's to add."""
    message = job.message
    route = answer if isinstance(answer, Route) else None
    return Delivery(
        outbox_message=message,
        account_id=message.account_id,
        account_address=message.account_address,
        from_address=message.from_address,
        message_id=message.message_id,
        size=message.size,
        route=route.kind if route else "",
        server=f"{route.server.host}:{route.server.port}" if route else "",
        credential_id=route.credential_id if route else None,
        explanation=answer.explanation.as_json(),
    )


def _log(rows: Sequence[Delivery]) -> None:
    Delivery.objects.bulk_create(rows)
    DeliveryRecipient.objects.bulk_create(
        DeliveryRecipient(delivery=row, address=address)
        for row in rows
        if row.outbox_message
        for address in row.outbox_message.recipients
    )

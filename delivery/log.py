"""The delivery log, written in groups: all rows that wait at a moment go into one commit.

A message waits for its row before its final dot. What came of it is added afterwards, with the
rows of later messages where there are any.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from delivery.link import AwayError, Link
from delivery.models import Delivery
from delivery.routing import Refusal, Route
from smtp.reply import Reply

logger = logging.getLogger(__name__)

GROUP = 500  # rows in one commit
OUTCOME_SECONDS = 0.05  # how long an outcome waits for company
AGAIN_SECONDS = 1.0
OUTCOMES = 10_000  # kept while PostgreSQL is away

# An outcome never meets its own row here: it is queued once that row is committed. An array names
# the rows, for a join would keep the plan of a table that was empty: to read all of it.
STATEMENT = """
WITH entry AS (
    SELECT * FROM json_to_recordset($1) AS entry (
        id uuid, account_id uuid, account_address text, from_address text, message_id text,
        size bigint, state text, route text, server text, tls_version text, envelope_sender text,
        sender text, credential_id uuid, explanation jsonb, reply text, recipients json)
), delivery AS (
    INSERT INTO delivery_delivery (
        id, finished_at, account_id, account_address, from_address, message_id, size, state, route,
        server, tls_version, envelope_sender, sender, credential_id, explanation, reply)
    SELECT id, CASE WHEN state <> 'handing_over' THEN now() END, account_id, account_address,
           from_address, message_id, size, state, route, server, tls_version, envelope_sender,
           sender, credential_id, explanation, reply
      FROM entry
), recipient AS (
    INSERT INTO delivery_deliveryrecipient (delivery_id, address)
    SELECT id, address FROM entry, json_array_elements_text(recipients) AS address
)
UPDATE delivery_delivery
   SET finished_at = now(),
       (state, reply, size, times) = (
           SELECT state, reply, size, times
             FROM jsonb_to_record($2::jsonb -> delivery_delivery.id::text)
               AS outcome (state text, reply text, size bigint, times jsonb))
 WHERE id = ANY (ARRAY(SELECT jsonb_object_keys($2::jsonb)::uuid))
"""

NOTHING = {
    "route": "", "server": "", "tls_version": "", "envelope_sender": "", "sender": "",
    "credential_id": None, "reply": "",
}  # fmt: skip


class Message(NamedTuple):
    """What the log says of a message, whatever becomes of it; `number` is that of its row."""

    number: str
    user_id: UUID
    account_address: str
    from_address: str
    message_id: str
    recipients: list[str]
    size: int = 0


class Record(NamedTuple):
    """The row of a message; `committed` becomes True, or False where it could not be written."""

    id: str
    row: Mapping[str, Any]
    committed: asyncio.Future[bool]


class Outcome(NamedTuple):
    """What came of a message, by column of its row."""

    id: str
    columns: Mapping[str, Any]


class DeliveryLog:
    """Belongs to one event loop; nothing here raises, for a mail program waits or has its reply.

    One group for each link is under way at most: with two of them, one is prepared while the disk
    still works for the other.
    """

    def __init__(self, *links: Link) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = list(links)
        self._records: deque[Record] = deque()
        self._outcomes: list[Outcome] = []
        self._outcomes_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._writers: set[asyncio.Task[None]] = set()
        self._is_starting = False
        self._open = 0  # records that are not committed yet
        self._is_away = False

    def hand_over(
        self, message: Message, route: Route, *, envelope_sender: str, tls_version: str
    ) -> Record:
        """Have it committed that a message is about to get its final dot."""
        return self._add(
            message,
            state=Delivery.State.HANDING_OVER,
            route=route.kind,
            server=f"{route.server.host}:{route.server.port}",
            tls_version=tls_version,
            envelope_sender=envelope_sender,
            sender=route.sender,
            credential_id=str(route.credential_id) if route.credential_id else None,
            explanation=route.explanation.as_json(),
        )

    def finish(
        self, record: Record, *, state: str, reply: Reply, size: int, times: Mapping[str, float]
    ) -> None:
        """Add how it ended to a message that was handed over."""
        columns = {"state": state, "reply": str(reply)[:1000], "size": size, "times": times}
        outcome = Outcome(record.id, columns)
        if record.committed.done():
            self._add_outcome(outcome)
        else:
            record.committed.add_done_callback(lambda _: self._add_outcome(outcome))

    def refuse(self, message: Message, answer: Route | Refusal | None, reply: Reply) -> None:
        """Record a message that got no final dot; `answer` is None where no decision was asked."""
        route = answer if isinstance(answer, Route) else None
        self._add(
            message,
            state=Delivery.State.REFUSED,
            route=route.kind if route else "",
            server=f"{route.server.host}:{route.server.port}" if route else "",
            credential_id=str(route.credential_id) if route and route.credential_id else None,
            explanation=answer.explanation.as_json() if answer else {},
            reply=str(reply)[:1000],
        )

    async def settle(self) -> None:
        """Write all that was put off; what can't be written now is lost to the log."""
        await asyncio.sleep(0)  # outcomes of the records that were committed just now
        while self._open or self._outcomes or self._writers:
            self._hurry()
            if self._writers:
                await asyncio.wait(self._writers)
            if self._is_away and not self._open:
                self._lose(self._outcomes)
                self._outcomes = []

    def _add(self, message: Message, **columns: object) -> Record:
        row: dict[str, object] = {
            **NOTHING,
            "id": message.number,
            "account_id": str(message.user_id),
            "account_address": message.account_address,
            "from_address": message.from_address,
            "message_id": message.message_id[:998],
            "size": message.size,
            "recipients": message.recipients,
            **columns,
        }
        record = Record(message.number, row, self._loop.create_future())
        self._records.append(record)
        self._open += 1
        self._start()
        return record

    def _add_outcome(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        if self._timer is None:
            self._later(OUTCOME_SECONDS)

    def _later(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._hurry)

    def _hurry(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._outcomes_due = bool(self._outcomes)
        self._start()

    def _start(self) -> None:
        if self._is_starting or not self._idle or not (self._records or self._outcomes_due):
            return
        self._is_starting = True
        writer = self._loop.create_task(self._write_all(self._idle.pop()))
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)

    async def _write_all(self, link: Link) -> None:
        """Group by group: while one is committed, the next one gathers."""
        self._is_starting = False
        try:
            while self._records or self._outcomes_due:
                count = min(GROUP, len(self._records))
                records = [self._records.popleft() for _ in range(count)]
                outcomes, self._outcomes = self._outcomes, []
                self._outcomes_due = False
                await self._write(link, records, outcomes)
        finally:
            self._idle.append(link)

    async def _write(self, link: Link, records: list[Record], outcomes: list[Outcome]) -> None:
        rows = json.dumps([record.row for record in records])
        try:
            await link.fetch(STATEMENT, (rows, json.dumps(dict(outcomes))))
        except AwayError as error:
            logger.error("The delivery log could not be written: %s", error)
            self._is_away = True
            self._close(records, committed=False)
            self._put_back(outcomes)
        except psycopg.Error as error:
            await self._write_apart(link, records, outcomes, error)
        else:
            self._is_away = False
            self._close(records, committed=True)

    async def _write_apart(
        self, link: Link, records: list[Record], outcomes: list[Outcome], error: psycopg.Error
    ) -> None:
        """One row that PostgreSQL refuses must not take the others with it."""
        if len(records) + len(outcomes) <= 1:
            logger.error("PostgreSQL refuses a row of the delivery log: %s", type(error).__name__)
            self._close(records, committed=False)
            return
        if records and outcomes:
            await self._write(link, records, [])
            await self._write(link, [], outcomes)
            return
        some, others = len(records) // 2, len(outcomes) // 2
        await self._write(link, records[:some], outcomes[:others])
        await self._write(link, records[some:], outcomes[others:])

    def _close(self, records: list[Record], *, committed: bool) -> None:
        self._open -= len(records)
        for record in records:
            record.committed.set_result(committed)

    def _put_back(self, outcomes: list[Outcome]) -> None:
        room = max(OUTCOMES - len(self._outcomes), 0)
        self._lose(outcomes[room:])
        self._outcomes[:0] = outcomes[:room]
        if self._outcomes and self._timer is None:
            self._later(AGAIN_SECONDS)

    def _lose(self, outcomes: list[Outcome]) -> None:
        if outcomes:
            logger.error("%d outcomes are lost to the delivery log", len(outcomes))

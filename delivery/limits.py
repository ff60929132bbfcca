"""How many recipients an account may write to, so that a stolen app password has an end.

Counted in PostgreSQL, for all processes. All messages that wait at a moment are counted by one
statement: while it is under way, the next ones gather.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
from django.conf import settings

from delivery.database import Database
from delivery.limit_reports import record_limit_reached
from delivery.link import AwayError, Link
from delivery.models import LimitReport
from policies.guardrails import Guardrails
from smtp.reply import Reply

logger = logging.getLogger(__name__)

GROUP = 500  # messages counted by one statement

# A count that a crash of PostgreSQL may lose is worth no wait for the disk: hence the setting. It
# holds until the transaction ends, which is this statement.
TAKE = """
SELECT taken_in, last_hour, last_day, set_config('synchronous_commit', 'off', true)
  FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[])
       WITH ORDINALITY AS asked (account, amount, per_hour, per_day, number)
 CROSS JOIN LATERAL take_recipients(account, amount, per_hour, per_day)
 ORDER BY number
"""
GIVE_BACK = """
UPDATE delivery_recipientcount SET recipients = recipients - $1
 WHERE account_id = $2 AND bucket = $3
"""


class Allowance(NamedTuple):
    """How many recipients within any hour and any day."""

    per_hour: int
    per_day: int


class Answer(NamedTuple):
    """`taken_in` is the bucket that counts the recipients; None where they would be too many."""

    taken_in: datetime | None
    last_hour: int
    last_day: int


class Request(NamedTuple):
    account_id: UUID
    recipients: int
    allowance: Allowance
    answer: asyncio.Future[Answer]


@dataclass(slots=True)
class Taken:
    """The recipients of one message, counted; given back at most once."""

    account_id: UUID
    recipients: int
    bucket: datetime
    is_given_back: bool = False


def allowance_of(guardrails: Guardrails) -> Allowance:
    """What the unit says, or else the installation."""
    return Allowance(
        guardrails.recipients_per_hour or settings.OUTGATE_RECIPIENTS_PER_HOUR,
        guardrails.recipients_per_day or settings.OUTGATE_RECIPIENTS_PER_DAY,
    )


class RecipientLimits:
    """Belongs to one event loop."""

    def __init__(self, link: Link, database: Database) -> None:
        self._link = link
        self._database = database
        self._waiting: deque[Request] = deque()
        self._unsent: deque[Taken] = deque()
        self._counter: asyncio.Task[None] | None = None

    async def take(self, account_id: UUID, recipients: int, allowance: Allowance) -> Taken | Reply:
        """Count the recipients of a message, or say why it can't go; then nothing is counted.

        The first time on a day that it is too many, administrators are told. Raises AwayError, and
        what the database raises.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(Request(account_id, recipients, allowance, answer))
        self._start()
        taken_in, last_hour, last_day = await answer
        if taken_in:
            return Taken(account_id, recipients, taken_in)
        excess = excess_of(Answer(taken_in, last_hour, last_day), recipients, allowance)
        await self._database(
            record_limit_reached, account_id=account_id, window=excess.window, limit=excess.limit
        )
        return excess.reply

    def give_back(self, taken: Taken) -> None:
        """The message got no final dot: its recipients don't count. Nobody has to wait for it."""
        if not taken.is_given_back:
            taken.is_given_back = True
            self._unsent.append(taken)
            self._start()

    async def settle(self) -> None:
        """Write all that was put off."""
        while self._counter:
            await asyncio.wait([self._counter])

    def _start(self) -> None:
        if self._counter is None:
            self._counter = asyncio.create_task(self._count_all())

    async def _count_all(self) -> None:
        try:
            while self._waiting or self._unsent:
                # One by one, and first: a statement over several would wait for rows in any order.
                while self._unsent:
                    await self._subtract(self._unsent.popleft())
                count = min(GROUP, len(self._waiting))
                await self._count([self._waiting.popleft() for _ in range(count)])
        finally:
            self._counter = None

    async def _count(self, group: list[Request]) -> None:
        # Every process locks accounts in the same order, so that no two wait for each other.
        group.sort(key=lambda request: request.account_id)
        parameters = (
            [request.account_id for request in group],
            [request.recipients for request in group],
            [request.allowance.per_hour for request in group],
            [request.allowance.per_day for request in group],
        )
        try:
            rows = await self._link.fetch(TAKE, parameters) if group else []
        except Exception as error:  # whatever it is, each message has to hear it
            for request in group:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        for request, (*columns, _setting) in zip(group, rows, strict=True):
            if not request.answer.done():  # its session may have been cut meanwhile
                request.answer.set_result(Answer(*columns))

    async def _subtract(self, taken: Taken) -> None:
        try:
            await self._link.fetch(GIVE_BACK, (taken.recipients, taken.account_id, taken.bucket))
        except (AwayError, psycopg.Error) as error:
            logger.warning("Recipients stay counted for a day: %s", type(error).__name__)


class Excess(NamedTuple):
    """Which limit a message would break, and what its author hears."""

    window: LimitReport.Window
    limit: int
    used: int
    recipients: int
    reply: Reply


def excess_of(answer: Answer, recipients: int, allowance: Allowance) -> Excess:
    window, limit, used = LimitReport.Window.DAY, allowance.per_day, answer.last_day
    if answer.last_day + recipients <= allowance.per_day:
        window, limit, used = LimitReport.Window.HOUR, allowance.per_hour, answer.last_hour
    return Excess(window, limit, used, recipients, _too_many(window, limit, used, recipients))


def _too_many(window: LimitReport.Window, limit: int, used: int, recipients: int) -> Reply:
    if recipients > limit:
        what_to_do = f"Write to at most {limit} at a time."
    elif window == LimitReport.Window.HOUR:
        what_to_do = "Send it again in an hour, or ask your administrator."
    else:
        what_to_do = "Send it again tomorrow, or ask your administrator."
    return Reply(
        450,
        "4.7.1",
        f"Your account may write to {limit} recipients {'an hour' if window == 'hour' else 'a day'}"
        f": {used} are used up, and this message has {recipients}. Nothing was sent. {what_to_do}",
    )

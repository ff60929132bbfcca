"""Hold and retry: a message whose own server does not work is kept, and its program hears 250.

Only before that server's 354; its content comes straight from the mail program into the outbox.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from django.conf import settings
from django.db import Error as DatabaseError

from delivery.cache import AccountCache, AppPasswordRevokedError
from delivery.database import Database
from delivery.headers import add_received
from delivery.link import AwayError
from delivery.models import OutboxMessage
from delivery.outbox import AbandonedError, Draft, OutboxWriter
from delivery.routing import Refusal
from delivery.submitted import AWAY, REVOKED, Submission, protocol_of
from smtp.reply import Reply

logger = logging.getLogger(__name__)


class Rules(Protocol):
    """What the sink has to ask: the relay that made it."""

    database: Database
    accounts: AccountCache


class Holding:
    """The sink of one message that waits: stored chunk by chunk, ours once it is committed.

    `give_back` undoes the counting of its recipients, should it not be kept.
    """

    def __init__(
        self,
        rules: Rules,
        submission: Submission,
        writer: OutboxWriter,
        give_back: Callable[[], None],
    ) -> None:
        self._database = rules.database
        self._accounts = rules.accounts
        self._submission = submission
        self._writer = writer
        self._give_back = give_back
        session = submission.session
        header = add_received(
            submission.header,
            protocol=protocol_of(submission),
            tls=session.tls,
            trace=submission.trace.number,
        )
        self._writer.add(header.encode())

    async def write(self, chunk: bytes) -> Reply | None:
        self._writer.add(chunk)
        if not self._writer.is_full:
            return None
        try:
            await self._database(self._writer.flush)
        except (DatabaseError, TimeoutError, AbandonedError) as error:
            return self._away(error)
        return None

    async def finish(self) -> Reply:
        """Commit it, if its account may still send from that address."""
        submission = self._submission
        try:
            decided = await self._accounts.decide(
                submission.app_password.pk, submission.from_address
            )
            if isinstance(decided.answer, Refusal) and not decided.answer.may_wait:
                await self.abort()
                return decided.answer.reply
            await self._database(self._writer.commit)
        except AppPasswordRevokedError:
            await self.abort()
            return REVOKED
        except (DatabaseError, TimeoutError, AwayError, AbandonedError) as error:
            await self.abort()
            return self._away(error)
        hours = settings.OUTGATE_RETRY_HOURS
        text = (
            f"Held: the server of {submission.from_address} does not take it at present. We try "
            f"for {hours} hours, and send you a report if none of it helps."
        )
        return Reply(250, "2.0.0", text)

    async def abort(self) -> None:
        self._give_back()
        self._writer.give_up()  # at once: all threads may be hanging
        try:
            await self._database(self._writer.abandon)
        except (DatabaseError, TimeoutError) as error:  # what it has stored is tidied in an hour
            logger.warning("%s not abandoned: %s", self._writer.id, type(error).__name__)

    def _away(self, error: Exception) -> Reply:
        logger.warning("%s not stored: %s", self._submission.session.id, type(error).__name__)
        return AWAY


def draft_of(submission: Submission, account_address: str) -> Draft:
    envelope = submission.envelope
    return Draft(
        source=OutboxMessage.Source.SMTP,
        user_id=submission.app_password.user_id,
        account_address=account_address,
        from_address=submission.from_address,
        recipients=envelope.recipients,
        message_id=submission.header.message_id or "",
        null_sender=not envelope.sender,
        is_8bit=envelope.body == "8BITMIME",
        needs_smtputf8=submission.needs_smtputf8,
    )

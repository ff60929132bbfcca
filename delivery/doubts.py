"""Refusals that say more than that: an outside address may not be its owner's any more."""

import logging
from uuid import UUID

from django.db import Error as DatabaseError

from delivery.database import Database
from delivery.routing import Route, RouteKind
from sendas.services.bounces import (
    note_gone_recipient,
    note_gone_sender,
    recipient_is_gone,
    sender_is_gone,
)
from smtp.failure import FailureKind, SmtpFailure

logger = logging.getLogger(__name__)


async def note_doubts(
    database: Database, failure: SmtpFailure, route: Route, account_id: UUID | None, sender: str
) -> None:
    """Have the proof asked for again where the server that refused is one to be believed.

    `sender` is the envelope sender, "" for a read receipt. Nothing waits for this to succeed: where
    PostgreSQL is away, the next refusal says the same.
    """
    reply = failure.reply
    if reply is None:
        return
    try:
        if route.kind == RouteKind.GATEWAY and sender and account_id and sender_is_gone(reply):
            await database(note_gone_sender, account_id, sender)
        elif (
            route.is_relay
            and failure.kind == FailureKind.RECIPIENT_REFUSED
            and failure.recipient
            and recipient_is_gone(reply)
        ):
            await database(note_gone_recipient, failure.recipient)
    except (DatabaseError, TimeoutError) as error:
        logger.warning("A doubtful address could not be noted: %s", type(error).__name__)

"""What the tests of the outbox write and read."""

import asyncio

from delivery.courier import Courier
from delivery.models import OutboxMessage
from delivery.outbox import Draft, store_message
from delivery.tasks import database

RECIPIENT = "claire@customer.example"
CANARY = "canary-4c1d-content"


def content_for(from_address: str, *, subject: str = "Offer", body: bytes = b"Text\r\n") -> bytes:
    return (
        f"From: Yuki <{from_address}>\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject}@yourdomain.com>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n\r\n"
    ).encode() + body


def put(
    user, *, from_address: str = "", content: bytes = b"", recipients: list[str] | None = None,
    subject: str = "Offer", null_sender: bool = False, piece: int = 100_000,
) -> OutboxMessage:  # fmt: skip
    """A message of the user's, waiting."""
    from_address = from_address or user.primary_address
    content = content or content_for(from_address, subject=subject)
    draft = Draft(
        source=OutboxMessage.Source.COMPOSE,
        user_id=user.pk,
        account_address=user.primary_address,
        from_address=from_address,
        recipients=recipients or [RECIPIENT],
        message_id=f"<{subject}@yourdomain.com>",
        null_sender=null_sender,
        needs_smtputf8=not all(address.isascii() for address in recipients or ()),
    )
    pieces = (content[start : start + piece] for start in range(0, len(content), piece))
    return OutboxMessage.objects.get(pk=store_message(draft, pieces))


def deliver() -> None:
    """One run, as a worker process does it, in this process."""
    asyncio.run(Courier(database()).run())


def state_of(message: OutboxMessage) -> str:
    return OutboxMessage.objects.get(pk=message.pk).state

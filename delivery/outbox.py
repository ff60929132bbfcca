"""The outbox, from the side of those who put messages in: store, look after, take out again."""

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from accounts.services.audit import Actor, record_event
from accounts.services.rights import demand_author, demand_author_or_support
from delivery.models import OutboxChunk, OutboxMessage
from delivery.sealing import CHUNK_BYTES, ContentError, Place, SealedChunk, seal_chunk, unseal_chunk
from sendas.models import SmtpMsa

ABANDONED = timedelta(hours=1)  # nobody writes a chunk for so long: whoever did so is gone
KEPT = timedelta(days=30)  # rows of ended messages, without content; the delivery log stays
TIDY_LIMIT = 10_000


class AbandonedError(Exception):
    """What was being stored has been tidied away meanwhile."""


class Draft(NamedTuple):
    """What the outbox has to know of a message besides its content."""

    source: str
    user_id: UUID | None
    account_address: str
    from_address: str
    recipients: list[str]
    message_id: str
    null_sender: bool = False
    is_8bit: bool = False
    needs_smtputf8: bool = False


class OutboxWriter:
    """Stores one message as its content comes: `add`, `flush` when full, and at last `commit`.

    The content is a header block without what `write_header` adds, and a body in the form of DATA.
    Nothing is promised before `commit` has returned. `add` and `give_up` touch no database; the
    others are synchronous, and wait for each other: who gave up waiting for a `commit` calls
    `abandon` from another thread. At most one chunk is held here, besides what was added last.
    """

    def __init__(self, draft: Draft, number: UUID | None = None) -> None:
        self.id = number or uuid4()
        self.size = 0
        self._draft = draft
        self._held = bytearray()
        self._stored = 0
        self._turn = threading.RLock()
        self._given_up = False

    @property
    def is_full(self) -> bool:
        # The last chunk is known by its mark, so one always stays behind for `commit`.
        return len(self._held) > CHUNK_BYTES

    def add(self, content: bytes) -> None:
        self._held += content
        self.size += len(content)

    def flush(self) -> None:
        """Store all that is full, each chunk in a transaction of its own."""
        with self._turn:
            while self.is_full:
                with transaction.atomic():
                    if not self._stored:
                        self._create(OutboxMessage.State.STORING)
                    self._touch(OutboxMessage.State.STORING)
                    self._store(bytes(self._held[:CHUNK_BYTES]), is_last=False)
                del self._held[:CHUNK_BYTES]

    def commit(self) -> None:
        """Store the rest and let the message be sent: from now on it is ours."""
        with self._turn:
            self.flush()
            with transaction.atomic():
                if self._stored:
                    self._touch(OutboxMessage.State.WAITING)
                else:
                    self._create(OutboxMessage.State.WAITING)
                self._store(bytes(self._held), is_last=True)

    def give_up(self) -> None:
        """Let a `commit` that is under way fail, if it has not come to its very end."""
        self._given_up = True

    def abandon(self) -> None:
        """Leave nothing behind of a message whose author was not told that it is ours.

        A commit that was not heard of may have happened all the same.
        """
        self.give_up()
        with self._turn:
            OutboxMessage.objects.filter(
                pk=self.id, state__in=(OutboxMessage.State.STORING, OutboxMessage.State.WAITING)
            ).delete()

    def _create(self, state: str) -> None:
        OutboxMessage.objects.create(
            id=self.id,
            state=state,
            source=self._draft.source,
            account_id=self._draft.user_id,
            account_address=self._draft.account_address,
            from_address=self._draft.from_address,
            null_sender=self._draft.null_sender,
            recipients=self._draft.recipients,
            message_id=self._draft.message_id[:998],
            is_8bit=self._draft.is_8bit,
            needs_smtputf8=self._draft.needs_smtputf8,
            size=self.size,
            expires_at=Now() + timedelta(hours=settings.OUTGATE_RETRY_HOURS),
        )

    def _touch(self, state: str) -> None:
        row = OutboxMessage.objects.filter(pk=self.id, state=OutboxMessage.State.STORING)
        if not row.update(state=state, size=self.size, next_attempt_at=Now()):
            raise AbandonedError

    def _store(self, content: bytes, *, is_last: bool) -> None:
        sealed = seal_chunk(content, Place(self.id, self._stored, is_last))
        OutboxChunk.objects.create(
            message_id=self.id,
            number=self._stored,
            is_last=is_last,
            key_id=sealed.key_id,
            ciphertext=sealed.ciphertext,
        )
        self._stored += 1
        if self._given_up:
            raise AbandonedError


def store_message(draft: Draft, content: Iterable[bytes], number: UUID | None = None) -> UUID:
    """Store a whole message; inside a transaction it is part of that."""
    writer = OutboxWriter(draft, number)
    with transaction.atomic():
        for piece in content:
            writer.add(piece)
            if writer.is_full:
                writer.flush()
        writer.commit()
    return writer.id


class Content(NamedTuple):
    """A chunk in clear."""

    content: bytes
    is_last: bool


def read_chunk(message_id: UUID, number: int) -> Content:
    """Raises ContentError where it is missing, or not what was stored in that place."""
    row = OutboxChunk.objects.filter(message_id=message_id, number=number).first()
    if row is None:
        raise ContentError(f"Chunk {number} is missing.")
    return open_chunk(row)


def open_chunk(row: OutboxChunk) -> Content:
    sealed = SealedChunk(row.key_id, bytes(row.ciphertext))
    place = Place(row.message_id, row.number, row.is_last)
    return Content(unseal_chunk(sealed, place), row.is_last)


def retry_now(*, actor: Actor, message: OutboxMessage) -> bool:
    """Let a waiting or held message be attempted at once; False where it is neither.

    Raise PermissionDenied but for its author, support and super administrators.
    """
    demand_author_or_support(actor, message.account_id)
    with transaction.atomic():
        waiting = OutboxMessage.objects.filter(
            pk=message.pk, state__in=(OutboxMessage.State.WAITING, OutboxMessage.State.HELD)
        )
        if not waiting.update(next_attempt_at=Now()):
            return False
        _record(actor, "outbox_retried", message)
    return True


def discard(*, actor: Actor, message: OutboxMessage) -> bool:
    """Send a waiting or held message to nobody, and forget its content; False where it is neither.

    One that is being sent can't be called back. Raise PermissionDenied as `retry_now`.
    """
    demand_author_or_support(actor, message.account_id)
    with transaction.atomic():
        waiting = OutboxMessage.objects.filter(
            pk=message.pk, state__in=(OutboxMessage.State.WAITING, OutboxMessage.State.HELD)
        )
        if not waiting.update(state=OutboxMessage.State.DISCARDED, finished_at=Now()):
            return False
        OutboxChunk.objects.filter(message_id=message.pk).delete()
        _record(actor, "outbox_discarded", message)
    return True


def failed_with_content() -> QuerySet[OutboxMessage]:
    """What failed, was written here and is kept: its author can open it again."""
    chunks = OutboxChunk.objects.filter(message=OuterRef("pk"))
    return OutboxMessage.objects.filter(Exists(chunks), state=OutboxMessage.State.FAILED)


def discard_failed(
    *, actor: Actor, message: OutboxMessage, sent_again_as: UUID | None = None
) -> bool:
    """Forget the content of a failed message; False where it is not there any more.

    `sent_again_as` is the number of the message that takes its place. Raise PermissionDenied but
    for its author.
    """
    demand_author(actor, message.account_id)
    with transaction.atomic():
        kept = failed_with_content().filter(pk=message.pk)
        if not kept.update(state=OutboxMessage.State.DISCARDED, finished_at=Now()):
            return False
        OutboxChunk.objects.filter(message_id=message.pk).delete()
        if sent_again_as:
            _record(actor, "outbox_sent_again", message, sent_as=str(sent_again_as))
        else:
            _record(actor, "outbox_discarded", message)
    return True


def _record(actor: Actor, name: str, message: OutboxMessage, **values: str) -> None:
    unit = message.account.unit if message.account else None
    record_event(actor, name, message.account_address, unit=unit, message=str(message.pk), **values)


def held_for(msa: SmtpMsa) -> QuerySet[OutboxMessage]:
    """What waits until the password of this server is mended."""
    return OutboxMessage.objects.filter(
        state=OutboxMessage.State.HELD, credential_id=msa.credential_id
    )


def release_mended() -> int:
    """Make due what is held for a credential that may work again, or is no longer there."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE delivery_outboxmessage held SET next_attempt_at = now()
             WHERE held.state = 'held' AND held.next_attempt_at > now()
               AND NOT EXISTS (SELECT FROM sendas_smtpmsa server
                                WHERE server.credential_id = held.credential_id
                                  AND (server.refused_at IS NOT NULL
                                       OR server.wiped_at IS NOT NULL))
            """
        )
        return int(cursor.rowcount)


def tidy_outbox() -> None:
    """Remove what nobody goes on storing, the content of what failed days ago, and old rows."""
    State = OutboxMessage.State  # noqa: N806  (a class)
    too_late = Q(message__account=None) | Q(
        message__finished_at__lt=Now() - OutboxMessage.CONTENT_KEPT
    )
    forgotten = OutboxChunk.objects.filter(too_late, message__state=State.FAILED)
    OutboxChunk.objects.filter(pk__in=forgotten.values("pk")[:TIDY_LIMIT]).delete()
    for rows in (
        OutboxMessage.objects.filter(state=State.STORING, next_attempt_at__lt=Now() - ABANDONED),
        OutboxMessage.objects.filter(
            state__in=(State.SENT, State.FAILED, State.DISCARDED), finished_at__lt=Now() - KEPT
        ),
    ):
        OutboxMessage.objects.filter(pk__in=rows.values("pk")[:TIDY_LIMIT]).delete()

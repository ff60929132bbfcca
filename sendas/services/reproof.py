"""Proofs that have to be repeated: asked for in time, then the address is suspended.

Nothing here looks at what is in a mailbox: that an address still belongs to its owner is shown in
the same way as the first time, by a code sent to it.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Least, Now

from accounts.services.audit import SYSTEM, Event, record_events
from sendas.models import OwnerNotice, SendAs, SendAsQuerySet

# From the mail that asks to the suspension.
GRACE = {
    SendAs.AskReason.AGE: timedelta(weeks=4),
    SendAs.AskReason.BOUNCE: timedelta(weeks=1),
    SendAs.AskReason.SENDER: timedelta(weeks=1),
}
BATCH = 200  # rows in one transaction
# A million addresses are 114 an hour. The first time, or after a shorter OUTGATE_PROOF_DAYS, all of
# them may be due at once, and our own mail server has more to do than to carry reminders.
ASKED_PER_HOUR = 2_000
SWEEP_LOCK = 7_216_005  # any number of our own


def ask_again(*, send_as: SendAs, reason: SendAs.AskReason) -> bool:
    """Have the owner prove the address once more, and tell why; it works on until it is due.

    False where that was asked before (it may be due sooner now, and its owner hears of that), or it
    was never proved.
    """
    with transaction.atomic():
        rows = SendAs.objects.select_for_update(no_key=True, of=("self",)).select_related(
            "user__unit"
        )
        row = rows.filter(
            pk=send_as.pk, verification_status=SendAs.VerificationStatus.ACCEPTED
        ).first()
        if row is None:
            return False
        was_asked = row.is_asked_again
        _ask([row], reason)
    return not was_asked


def ask_for_old_proofs() -> int:
    """Ask for the proofs that will be too old soon; how many. One sweep at a time does anything."""
    with transaction.atomic():
        if not _is_alone():
            return 0
        hour = SendAs.objects.filter(asked_at__gt=Now() - timedelta(hours=1))
        room = max(0, ASKED_PER_HOUR - hour.count())
        age = timedelta(days=settings.OUTGATE_PROOF_DAYS) - GRACE[SendAs.AskReason.AGE]
        rows = _claimed(SendAs.objects.ageing(age).order_by("verified_at"), min(BATCH, room))
        _ask(rows, SendAs.AskReason.AGE)
    return len(rows)


def suspend_lapsed() -> int:
    """Suspend what was not proved in time; how many. Mail from it is refused from now on."""
    with transaction.atomic():
        rows = _claimed(SendAs.objects.lapsed().order_by("proof_due_at"), BATCH)
        SendAs.objects.filter(pk__in=[row.pk for row in rows]).update(suspended_at=Now())
        _tell(rows, OwnerNotice.Kind.ADDRESS_SUSPENDED)
        record_events(SYSTEM, "send_as_suspended", _events(rows))
    return len(rows)


def _is_alone() -> bool:
    """Two sweeps at once would each take what the other leaves of the hour's ration."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
        return bool(cursor.fetchone()[0])


def _claimed(rows: SendAsQuerySet, number: int) -> list[SendAs]:
    """Rows that nobody works on at the moment, held until the transaction ends."""
    free = rows.select_for_update(no_key=True, skip_locked=True, of=("self",))
    return list(free.select_related("user__unit")[:number])


def _ask(rows: Sequence[SendAs], reason: SendAs.AskReason) -> None:
    due = Now() + GRACE[reason]
    asked = SendAs.objects.filter(pk__in=[row.pk for row in rows])
    asked.update(
        asked_at=Coalesce(F("asked_at"), Now()),
        ask_reason=reason,
        proof_due_at=Least(Coalesce(F("proof_due_at"), due), due),
    )
    now_due = dict(asked.values_list("pk", "proof_due_at"))
    # Whoever was told a later day has to hear of the new one.
    news = [row for row in rows if now_due[row.pk] != row.proof_due_at]
    _tell(news, OwnerNotice.Kind.PROVE_AGAIN)
    record_events(SYSTEM, "send_as_asked_again", _events(news, reason=reason))


def _tell(rows: Sequence[SendAs], kind: OwnerNotice.Kind) -> None:
    OwnerNotice.objects.bulk_create(
        OwnerNotice(user=row.user, send_as=row, kind=kind) for row in rows
    )


def _events(rows: Sequence[SendAs], **details: str) -> list[Event]:
    return [
        Event(row.user.unit, row.send_as_email, {"account": row.user.primary_address, **details})
        for row in rows
    ]

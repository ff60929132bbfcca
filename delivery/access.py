"""The only way from a request to an account's messages: 404 to everybody else."""

from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.shortcuts import get_object_or_404

from accounts.requests import SignedInRequest
from delivery.models import OutboxMessage
from delivery.outbox import failed_with_content


def own_messages(request: SignedInRequest) -> QuerySet[OutboxMessage]:
    """What the signed-in account gave the outbox, newest first, and not what we reported to it.

    `is_kept`: it failed, and can be opened again.
    """
    State = OutboxMessage.State  # noqa: N806  (a class)
    kept = Exists(failed_with_content().filter(pk=OuterRef("pk")))
    stored = OutboxMessage.objects.filter(account=request.user).exclude(state=State.STORING)
    stored = stored.annotate(is_kept=kept)
    return stored.exclude(source=OutboxMessage.Source.REPORT)


def own_message(request: SignedInRequest, number: UUID) -> OutboxMessage:
    return get_object_or_404(own_messages(request), pk=number)

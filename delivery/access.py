"""The only way from a request to an account's messages: 404 to everybody else."""

from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from accounts.requests import SignedInRequest
from delivery.models import OutboxMessage


def own_messages(request: SignedInRequest) -> QuerySet[OutboxMessage]:
    """What the signed-in account gave the outbox, newest first, and not what we reported to it."""
    State = OutboxMessage.State  # noqa: N806  (a class)
    stored = OutboxMessage.objects.filter(account=request.user).exclude(state=State.STORING)
    return stored.exclude(source=OutboxMessage.Source.REPORT)


def own_message(request: SignedInRequest, number: UUID) -> OutboxMessage:
    return get_object_or_404(own_messages(request), pk=number)

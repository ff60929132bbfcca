"""How full the outbox is, for whoever watches it."""

from typing import NamedTuple

from django.db.models import Count, DurationField, ExpressionWrapper, F, Max
from django.db.models.functions import Now

from delivery.models import OutboxMessage


class Waiting(NamedTuple):
    """How many messages are in a state, and for how many seconds the oldest has been stored."""

    messages: int
    oldest_seconds: float


def outbox_depth() -> dict[str, Waiting]:
    """For each state in which a message has still to be handed over."""
    age = ExpressionWrapper(Now() - F("created_at"), output_field=DurationField())
    rows = (
        OutboxMessage.objects.filter(state__in=OutboxMessage.UNDER_WAY)
        .order_by()
        .values("state")
        .annotate(messages=Count("pk"), oldest=Max(age))
        .values_list("state", "messages", "oldest")
    )
    depth = {state.value: Waiting(0, 0.0) for state in OutboxMessage.UNDER_WAY}
    depth.update((state, Waiting(count, oldest.total_seconds())) for state, count, oldest in rows)
    return depth

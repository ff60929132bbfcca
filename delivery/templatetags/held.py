"""How many messages wait for the servers that refuse an account's passwords."""

from uuid import UUID

from django import template
from django.db.models import Count

from accounts.models import User
from delivery.models import OutboxMessage

register = template.Library()


@register.simple_tag
def held_of(user: User) -> dict[UUID | None, int]:
    """By credential, in one query."""
    held = OutboxMessage.objects.filter(account=user, state=OutboxMessage.State.HELD)
    counted = held.order_by().values("credential_id").annotate(number=Count("pk"))
    return dict(counted.values_list("credential_id", "number"))


@register.filter
def of_credential(held: dict[UUID | None, int], credential_id: UUID) -> int:
    return held.get(credential_id, 0)

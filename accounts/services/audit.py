from typing import Any, NamedTuple

from accounts.models import AuditEvent, User


class Actor(NamedTuple):
    """Who acts, and from which network address; `SYSTEM` where nobody does."""

    user: User | None = None
    client_ip: str | None = None


SYSTEM = Actor()


def record_event(actor: Actor, name: str, target: str, **details: Any) -> AuditEvent:
    """Append to the audit, inside the transaction of what it reports. Never pass a secret."""
    return AuditEvent.objects.create(
        actor_id=actor.user.pk if actor.user else None,
        actor_address=actor.user.primary_address if actor.user else "",
        client_ip=actor.client_ip,
        name=name,
        target=target,
        details=details,
    )

from collections.abc import Sequence
from typing import Any, NamedTuple

from accounts.models import AuditEvent, OrgUnit, User
from accounts.models.directory import path_names, paths_by_unit


class Actor(NamedTuple):
    """Who acts, and from which network address; `SYSTEM` where nobody does."""

    user: User | None = None
    client_ip: str | None = None


SYSTEM = Actor()


class Event(NamedTuple):
    """One of those that `record_events` records; `unit` is where it belongs."""

    unit: OrgUnit
    target: str
    details: dict[str, Any]


def record_event(
    actor: Actor, name: str, target: str, *, unit: OrgUnit | None = None, **details: Any
) -> AuditEvent:
    """Append to the audit, inside the transaction of what it reports. Never pass a secret.

    `unit` is where it belongs, an account's unit for what is about an account: who reads the
    reports of that unit sees it. Without one only super administrators do. A changed value stands
    in the details as `old` and `new`.
    """
    return AuditEvent.objects.create(
        actor_id=actor.user.pk if actor.user else None,
        actor_address=actor.user.primary_address if actor.user else "",
        client_ip=actor.client_ip,
        name=name,
        unit_id=unit.pk if unit else None,
        unit_path=path_names(unit) if unit else "",
        target=target,
        details=details,
    )


def record_events(actor: Actor, name: str, events: Sequence[Event]) -> None:
    """As record_event for many of one name, in two queries however many they are."""
    paths = paths_by_unit(event.unit for event in events)
    AuditEvent.objects.bulk_create(
        AuditEvent(
            actor_id=actor.user.pk if actor.user else None,
            actor_address=actor.user.primary_address if actor.user else "",
            client_ip=actor.client_ip,
            name=name,
            unit_id=event.unit.pk,
            unit_path=paths[event.unit.pk],
            target=event.target,
            details=event.details,
        )
        for event in events
    )

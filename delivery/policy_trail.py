"""Whence the policy came that a decision was made by: from its explanation and the history."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from policies.models import PolicyChange, Setting


class PolicyTrail(NamedTuple):
    """`deciding_unit` is "" for the default. `change`: None where history does not tell.

    `reached_at`: when the change's wave reached the account's cohort.
    """

    allowed: bool
    deciding_unit: str
    version: int
    unit: str
    cohort: int
    change: PolicyChange | None
    reached_at: datetime | None


def policy_trail(explanation: Mapping[str, Any], *, before: datetime | None = None) -> PolicyTrail:
    """For an explanation of now, or as a delivery keeps it from `before`. Two queries."""
    change = deciding_change(explanation, before=before)
    wave = change.waves.filter(cohort=explanation["cohort"]).first() if change else None
    return PolicyTrail(
        allowed=explanation["gateways_allowed"],
        deciding_unit=explanation["deciding_unit"],
        version=explanation["version"],
        unit=explanation["unit"],
        cohort=explanation["cohort"],
        change=change,
        reached_at=wave.applied_at if wave else None,
    )


def deciding_change(
    explanation: Mapping[str, Any], *, before: datetime | None = None
) -> PolicyChange | None:
    """The saved change that decided; None for the default, and where history no longer tells.

    An explanation keeps the deciding unit by its name and the account's unit by its path, as both
    were then: the change is the one saved for a unit of that name on that path.
    """
    names = str(explanation.get("unit", "")).split(" › ")
    paths = [
        " › ".join(names[: depth + 1])
        for depth, name in enumerate(names)
        if name == explanation.get("deciding_unit")
    ]
    changes = PolicyChange.objects.filter(
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        unit_path__in=paths,
        version=explanation.get("version", 0),
    )
    return (changes.filter(created_at__lte=before) if before else changes).first()

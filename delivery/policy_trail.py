"""Whence the policy came that a decision was made by: from its explanation and the history."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q
from django.db.models.functions import Now

from policies.models import PolicyChange, RolloutWave, Setting
from policies.services import Arrival


class PolicyTrail(NamedTuple):
    """`deciding_unit` is "" for the default. `change`: None where history does not tell.

    `reached_at`: when the change's wave reached the account's cohort. `coming`: the wave of a newer
    change that was saved, but had not reached the cohort then; the decision went by the old rule.
    `is_planned`: whether `reached_at` is still to come.
    """

    allowed: bool
    deciding_unit: str
    version: int
    unit: str
    cohort: int
    change: PolicyChange | None
    reached_at: datetime | None
    coming: RolloutWave | None
    is_planned: bool = False


def policy_trail(explanation: Mapping[str, Any], *, before: datetime | None = None) -> PolicyTrail:
    """For an explanation of now, or as a delivery keeps it from `before`. Three queries."""
    change = deciding_change(explanation, before=before)
    wave = change.waves.filter(cohort=explanation["cohort"]).first() if change else None
    return PolicyTrail(
        **_policy(explanation),
        change=change,
        reached_at=wave.applied_at if wave else None,
        coming=_coming_wave(explanation, before or Now()),
    )


def planned_trail(
    explanation: Mapping[str, Any], decider: Arrival | None, *, is_coming: bool
) -> PolicyTrail:
    """For an explanation of a time to come, and what decides then. No query."""
    return PolicyTrail(
        **_policy(explanation),
        change=decider.change if decider else None,
        reached_at=decider.at if decider else None,
        coming=None,
        is_planned=is_coming,
    )


def _policy(explanation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "allowed": explanation["gateways_allowed"],
        "deciding_unit": explanation["deciding_unit"],
        "version": explanation["version"],
        "unit": explanation["unit"],
        "cohort": explanation["cohort"],
    }


def _coming_wave(explanation: Mapping[str, Any], at: datetime | Now) -> RolloutWave | None:
    """Of the newest change for the account's unit or one above it, up to the one that decided."""
    paths = _paths_to(explanation)
    above = [path for path in paths if path in _deciding_paths(explanation)][:1]
    waves = RolloutWave.objects.filter(
        Q(applied_at=None) | Q(applied_at__gt=at),
        Q(superseded_at=None) | Q(superseded_at__gt=at),
        cohort=explanation["cohort"],
        change__setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        change__unit_path__in=paths[paths.index(above[0]) :] if above else paths,
        change__version__isnull=False,
        change__starts_at__lte=at,
    )
    return waves.select_related("change").order_by("-change_id").first()


def deciding_change(
    explanation: Mapping[str, Any], *, before: datetime | None = None
) -> PolicyChange | None:
    """The saved change that decided; None for the default, and where history no longer tells.

    An explanation keeps the deciding unit by its name and the account's unit by its path, as both
    were then: the change is the one saved for a unit of that name on that path.
    """
    changes = PolicyChange.objects.filter(
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        unit_path__in=_deciding_paths(explanation),
        version=explanation.get("version", 0),
    )
    return (changes.filter(created_at__lte=before) if before else changes).first()


def _paths_to(explanation: Mapping[str, Any]) -> list[str]:
    """The account's unit and those above it, the root first."""
    names = str(explanation.get("unit", "")).split(" › ")
    return [" › ".join(names[: depth + 1]) for depth in range(len(names))]


def _deciding_paths(explanation: Mapping[str, Any]) -> list[str]:
    deciding = explanation.get("deciding_unit")
    return [path for path in _paths_to(explanation) if path.split(" › ")[-1] == deciding]

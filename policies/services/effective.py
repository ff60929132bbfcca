"""Asking what holds for an account, and what a unit is set to."""

from typing import Any, NamedTuple

from accounts.models import OrgUnit
from policies.guardrails import Guardrails
from policies.models import DEFAULTS, AppliedPolicy, GatewayPolicy


class Effective(NamedTuple):
    """A value, the unit that decided it (None: the default), and the version it came with."""

    value: dict[str, Any]
    unit: OrgUnit | None
    version: int

    @property
    def allowed(self) -> bool:
        return bool(self.value["allowed"])


def applied_value(unit_path: str, cohort: int, setting: str) -> Effective:
    """What holds now for the accounts of a cohort in the unit at `unit_path`: one query."""
    return _effective(
        AppliedPolicy.objects.filter(cohort=cohort).deciding(setting, unit_path), setting
    )


def saved_value(unit: OrgUnit, setting: str) -> Effective:
    """What the unit is set to, itself or from above, however far the rollout is: one query."""
    return _effective(GatewayPolicy.objects.deciding(setting, unit.path), setting)


def inherited_value(unit: OrgUnit, setting: str) -> Effective:
    """What the unit would be set to without a value of its own."""
    above = unit.path[: -OrgUnit.steplen]
    return _effective(GatewayPolicy.objects.deciding(setting, above), setting)


def applied_guardrails(unit_path: str, cohort: int) -> Guardrails:
    """What holds now for the accounts of a cohort in the unit at `unit_path`: one query."""
    guardrails: Guardrails = AppliedPolicy.objects.filter(cohort=cohort).guardrails(unit_path)
    return guardrails


def inherited_guardrails(unit: OrgUnit) -> Guardrails:
    """What would be saved for the unit without any of its own."""
    guardrails: Guardrails = GatewayPolicy.objects.guardrails(unit.path[: -OrgUnit.steplen])
    return guardrails


def _effective(row: GatewayPolicy | AppliedPolicy | None, setting: str) -> Effective:
    if row is None or row.value is None:
        return Effective(DEFAULTS[setting], None, 0)
    return Effective(row.value, row.unit, row.version)

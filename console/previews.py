"""What a value would change that is not saved yet, for all settings but the first."""

from typing import Any

from accounts.models import OrgUnit
from console.guardrail_impact import load_guardrail_impact
from console.guardrail_impact_lines import shown_guardrail_impact
from console.impact_loading import load_value_impact
from console.impact_page import shown_impact
from console.reached import Value
from policies.models import Setting


def shown_preview(unit: OrgUnit, setting: str, value: Value | None) -> dict[str, Any]:
    """What the template `impact_part` takes, itself among it."""
    if setting == Setting.GATEWAY_GUARDRAILS:
        return shown_guardrail_impact(load_guardrail_impact(unit, value))
    return shown_impact(load_value_impact(unit, setting, value))

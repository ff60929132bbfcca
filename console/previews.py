"""What a value would change that has not reached everybody: for each setting, by its own means."""

from typing import Any

from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from console.guardrail_impact import load_guardrail_impact
from console.guardrail_impact_lines import servers_of, shown_guardrail_impact
from console.impact_lines import turns_of
from console.impact_loading import load_impact, load_value_impact
from console.impact_page import shown_impact
from console.reached import Value
from console.unit_setting import GATEWAY, load_unit_setting
from policies.models import Setting


def shown_preview(unit: OrgUnit, setting: str, value: Value | None) -> dict[str, Any]:
    """What the template `impact_part` takes, itself among it; not for the first setting."""
    if setting == Setting.GATEWAY_GUARDRAILS:
        return shown_guardrail_impact(load_guardrail_impact(unit, value))
    return shown_impact(load_value_impact(unit, setting, value))


def routes_told(unit: OrgUnit, setting: str, value: Value | None) -> list[str]:
    """A sentence for each kind of addresses whose mail the value turns, or that it turns none's.

    Counted by what has reached each account now.
    """
    lines = _turned(unit, setting, value)
    if not lines:
        return [_("The mail of no outside address changes its route.")]
    return [_("%(number)s %(text)s.") % {"number": f"{n:,}", "text": text} for n, text in lines]


def _turned(unit: OrgUnit, setting: str, value: Value | None) -> list[tuple[int, str]]:
    if setting == Setting.GATEWAY_GUARDRAILS:
        barred = servers_of(load_guardrail_impact(unit, value))
        return [(line.number, line.text) for line in barred]
    if setting == GATEWAY:
        impact = load_impact(load_unit_setting(unit), value)
    else:
        impact = load_value_impact(unit, setting, value)
    return [(line.number, line.text) for line in turns_of(impact) if not line.stays]

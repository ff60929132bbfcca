"""The settings of a unit besides the first one, in a line each."""

from typing import NamedTuple

from django.urls import reverse
from django.utils.functional import Promise

from accounts.models import OrgUnit
from console.failure_page import failure_page
from console.guardrails_page import guardrails_page
from console.outbound_page import outbound_page
from console.unit_page import UnitPage
from policies.models import GatewayPolicy, Setting
from policies.services import saved_value
from policies.words import Value, value_in_words

PAGES = (outbound_page, guardrails_page, failure_page)


class SettingLine(NamedTuple):
    """`inherited_from` is a unit's name; "" where it is the unit's own value, or the default."""

    title: str | Promise
    url: str
    text: str
    inherited_from: str
    is_own: bool


def other_settings(unit: OrgUnit) -> list[SettingLine]:
    """As they are saved. Four queries."""
    return [_line(page, unit) for page in PAGES]


def _line(page: UnitPage, unit: OrgUnit) -> SettingLine:
    saved = saved_value(unit, page.setting)
    is_own = saved.unit == unit
    value = _merged(unit) if page.setting == Setting.GATEWAY_GUARDRAILS else saved.value
    return SettingLine(
        title=page.title,
        url=reverse(page.view_name, args=[unit.pk]),
        text=value_in_words(page.setting, value),
        inherited_from=saved.unit.name if saved.unit and not is_own else "",
        is_own=is_own,
    )


def _merged(unit: OrgUnit) -> Value:
    """Only the guardrails that some unit sets."""
    guardrails = GatewayPolicy.objects.guardrails(unit.path)
    return {
        key: of_it for key, of_it in guardrails.as_value().items() if key in guardrails.deciders
    }

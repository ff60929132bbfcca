"""Values and changes in words."""

from typing import Any

from django.utils.translation import gettext as _

from policies.models import DEFAULTS, Setting
from policies.words import value_in_words


def own_value(setting: str, value: dict[str, Any] | None, *, at_root: bool) -> str:
    """A unit's own value; the root inherits from nobody, so there None is the default."""
    if value is not None:
        return value_in_words(setting, value)
    return value_in_words(setting, DEFAULTS[setting]) if at_root else _("Inherited")


def change_title(setting: str, new: dict[str, Any] | None, unit_name: str) -> str:
    about = {"setting": Setting(setting).label, "unit": unit_name}
    if new is None:
        return _("%(setting)s inherited by %(unit)s") % about
    if setting == Setting.GATEWAY_GUARDRAILS:
        return _("%(setting)s changed for %(unit)s") % about
    if setting in {Setting.GATEWAY_FAILURE, Setting.OUTBOUND_GATEWAY}:
        value = value_in_words(setting, new)
        return _("%(setting)s: %(value)s, for %(unit)s") % {"value": value, **about}
    if new["allowed"]:
        return _("Per-user outbound gateways on for %(unit)s") % about
    return _("Per-user outbound gateways off for %(unit)s") % about

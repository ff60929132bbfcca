"""Values and changes in words."""

from typing import Any

from django.utils.translation import gettext as _

from policies.models import GatewayFailure, Setting


def on_or_off(value: dict[str, Any]) -> str:
    if "choice" in value:
        return str(GatewayFailure(value["choice"]).label)
    return _("On") if value["allowed"] else _("Off")


def own_value(value: dict[str, Any] | None, *, at_root: bool) -> str:
    """A unit's own value; the root inherits from nobody, so there None is the default."""
    if value is not None:
        return on_or_off(value)
    return _("Off") if at_root else _("Inherited")


def change_title(new: dict[str, Any] | None, unit_name: str) -> str:
    if new is None:
        return _("Per-user outbound gateways inherited by %(unit)s") % {"unit": unit_name}
    if "choice" in new:
        names = {"setting": Setting.GATEWAY_FAILURE.label, "unit": unit_name}
        return _("%(setting)s: %(value)s, for %(unit)s") % {"value": on_or_off(new), **names}
    if new["allowed"]:
        return _("Per-user outbound gateways on for %(unit)s") % {"unit": unit_name}
    return _("Per-user outbound gateways off for %(unit)s") % {"unit": unit_name}

"""Values and changes in words."""

from typing import Any

from django.utils.translation import gettext as _


def on_or_off(value: dict[str, Any]) -> str:
    return _("On") if value["allowed"] else _("Off")


def own_value(value: dict[str, Any] | None, *, at_root: bool) -> str:
    """A unit's own value; the root inherits from nobody, so there None is the default."""
    if value is not None:
        return on_or_off(value)
    return _("Off") if at_root else _("Inherited")


def change_title(new: dict[str, Any] | None, unit_name: str) -> str:
    if new is None:
        return _("Per-user outbound gateways inherited by %(unit)s") % {"unit": unit_name}
    if new["allowed"]:
        return _("Per-user outbound gateways on for %(unit)s") % {"unit": unit_name}
    return _("Per-user outbound gateways off for %(unit)s") % {"unit": unit_name}

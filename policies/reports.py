"""Audit events under the names that scripts written for Google's Reports API look for."""

from typing import Any, NamedTuple

from accounts.models import AuditEvent

# What our own name becomes there: its type and its name.
GOOGLE_NAMES = {
    "account_created": ("USER_SETTINGS", "CREATE_USER"),
    "account_moved": ("USER_SETTINGS", "MOVE_USER_TO_ORG_UNIT"),
    "account_suspended": ("USER_SETTINGS", "SUSPEND_USER"),
    "account_restored": ("USER_SETTINGS", "UNSUSPEND_USER"),
    "app_password_revoked": ("USER_SETTINGS", "REVOKE_ASP"),
    "role_assigned": ("DELEGATED_ADMIN_SETTINGS", "ASSIGN_ROLE"),
    "role_removed": ("DELEGATED_ADMIN_SETTINGS", "UNASSIGN_ROLE"),
    "unit_created": ("ORG_SETTINGS", "CREATE_ORG_UNIT"),
    "unit_renamed": ("ORG_SETTINGS", "EDIT_ORG_UNIT_NAME"),
    "unit_moved": ("ORG_SETTINGS", "MOVE_ORG_UNIT"),
    "unit_deleted": ("ORG_SETTINGS", "REMOVE_ORG_UNIT"),
}
# What Google has no event for goes under a type of our own.
OWN_TYPE = "OUTGATE"
INHERIT = "INHERIT_FROM_PARENT"
APPLICATION_SETTINGS = {"per_user_outbound_gateway": "PerUserOutboundGateway enable_smtp_relay"}
EMAIL_SETTINGS = {"per_user_outbound_gateway": "OUTBOUND_RELAY_ENABLED"}


class Reported(NamedTuple):
    """One event of an activity."""

    type: str
    name: str
    parameters: dict[str, str]


def reported(event: AuditEvent) -> list[Reported]:
    """The one event, or for a setting the two, as which an audit event is reported."""
    setting = event.details.get("setting")
    if event.name == "policy_changed" and setting in APPLICATION_SETTINGS:
        return _setting_changed(event, setting)
    kind, name = GOOGLE_NAMES.get(event.name, (OWN_TYPE, event.name.upper()))
    subject = "USER_EMAIL" if "@" in event.target else "TARGET"
    parameters = {
        subject: event.target,
        "ORG_UNIT_NAME": event.unit_path,
        "SETTING_NAME": setting or "",
        "OLD_VALUE": _text(event.details.get("old")),
        "NEW_VALUE": _text(event.details.get("new")),
    }
    return [Reported(kind, name, {key: value for key, value in parameters.items() if value})]


def _setting_changed(event: AuditEvent, setting: str) -> list[Reported]:
    old, new = event.details["old"], event.details["new"]
    values = {
        "ORG_UNIT_NAME": event.unit_path or event.target,
        "OLD_VALUE": _setting_value(old),
        "NEW_VALUE": _setting_value(new),
    }
    action = "DELETE" if new is None else "CREATE" if old is None else "CHANGE"
    return [
        Reported(
            "APPLICATION_SETTINGS",
            f"{action}_APPLICATION_SETTING",
            {
                "APPLICATION_NAME": "Gmail",
                "SETTING_NAME": APPLICATION_SETTINGS[setting],
                **values,
            },
        ),
        Reported(
            "EMAIL_SETTINGS",
            "CHANGE_EMAIL_SETTING",
            {"SETTING_NAME": EMAIL_SETTINGS[setting], **values},
        ),
    ]


def _setting_value(value: dict[str, Any] | None) -> str:
    return INHERIT if value is None else _text(value["allowed"])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Audit events in words: what each name means, what was, and what is."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import AuditEvent, Privilege, RoleAssignment
from accounts.templatetags.clock import date_and_zone
from policies.reports import reported
from policies.words import value_in_words

EVENTS: dict[str, str | Promise] = {
    "policy_changed": gettext_lazy("Setting changed"),
    "policy_change_scheduled": gettext_lazy("Change of a setting scheduled"),
    "policy_change_cancelled": gettext_lazy("Scheduled change cancelled"),
    "policy_rollout_paused": gettext_lazy("Rollout paused"),
    "policy_rollout_resumed": gettext_lazy("Rollout resumed"),
    "policy_rollout_applied_now": gettext_lazy("Rollout applied to everybody now"),
    "policy_rollout_rescheduled": gettext_lazy("Scheduled change moved to another time"),
    "policy_rollout_undone": gettext_lazy("Change undone"),
    "account_applied_now": gettext_lazy("Waiting changes applied to an account"),
    "account_returned_to_cohort": gettext_lazy("Account returned to its cohort"),
    "account_created": gettext_lazy("Account created"),
    "account_moved": gettext_lazy("Account moved to another unit"),
    "account_suspended": gettext_lazy("Account suspended"),
    "account_renamed": gettext_lazy("Account renamed"),
    "account_restored": gettext_lazy("Account restored"),
    "alias_added": gettext_lazy("Alias added"),
    "alias_removed": gettext_lazy("Alias removed"),
    "app_password_created": gettext_lazy("App password created"),
    "app_password_revoked": gettext_lazy("App password revoked"),
    "database_filled": gettext_lazy("Filled with made-up accounts"),
    "credentials_rotated": gettext_lazy("Key of stored passwords changed"),
    "domain_created": gettext_lazy("Domain added"),
    "gateway_approved": gettext_lazy("Own server of an address approved"),
    "gateway_refused": gettext_lazy("Own server of an address refused"),
    "host_fails": gettext_lazy("Many accounts at one server fail"),
    "gateway_removed": gettext_lazy("Own server removed from an address"),
    "gateway_set": gettext_lazy("Own server given to an address"),
    "outbox_discarded": gettext_lazy("Message in the outbox discarded"),
    "outbox_sent_again": gettext_lazy("Failed message in the outbox sent again"),
    "outbox_retried": gettext_lazy("Message in the outbox tried again"),
    "password_link_mailed": gettext_lazy("Link to choose a password mailed"),
    "passwords_wiped": gettext_lazy("Stored passwords of a server wiped"),
    "recipient_limit_reached": gettext_lazy("Limit of recipients reached"),
    "reply_from_chosen": gettext_lazy("Address for replies chosen"),
    "role_assigned": gettext_lazy("Role given"),
    "role_changed": gettext_lazy("Privileges changed"),
    "role_removed": gettext_lazy("Role taken away"),
    "second_factor_removed": gettext_lazy("Second factor removed"),
    "second_factor_reset": gettext_lazy("Second factor reset"),
    "second_factor_set_up": gettext_lazy("Second factor set up"),
    "second_factors_rotated": gettext_lazy("Key of stored second factors changed"),
    "sign_in_wiped": gettext_lazy("Password of the outbound gateway wiped"),
    "send_as_added": gettext_lazy("Outside address added"),
    "send_as_asked_again": gettext_lazy("Outside address to be proved again"),
    "send_as_changed": gettext_lazy("Address changed"),
    "send_as_default": gettext_lazy("Default address chosen"),
    "send_as_deleted": gettext_lazy("Outside address deleted"),
    "send_as_suspended": gettext_lazy("Outside address suspended"),
    "send_as_verified": gettext_lazy("Outside address proved"),
    "unit_created": gettext_lazy("Unit created"),
    "unit_deleted": gettext_lazy("Unit deleted"),
    "unit_moved": gettext_lazy("Unit moved"),
    "unit_renamed": gettext_lazy("Unit renamed"),
}
DETAILS: dict[str, str | Promise] = {
    "account": gettext_lazy("account"),
    "accounts": gettext_lazy("accounts"),
    "addresses": gettext_lazy("addresses"),
    "app_password": gettext_lazy("app password"),
    "change": gettext_lazy("change"),
    "changes": gettext_lazy("changes"),
    "cohort": gettext_lazy("cohort"),
    "complete_by": gettext_lazy("complete by"),
    "gateway": gettext_lazy("gateway"),
    "host": gettext_lazy("host"),
    "kind": gettext_lazy("kind"),
    "limit": gettext_lazy("limit"),
    "message": gettext_lazy("message"),
    "port": gettext_lazy("port"),
    "reason": gettext_lazy("reason"),
    "rotated": gettext_lazy("rotated"),
    "sign_ins": gettext_lazy("sign-ins of outbound gateways"),
    "starts_at": gettext_lazy("starts at"),
    "units": gettext_lazy("units"),
    "window": gettext_lazy("window"),
}
MOMENTS = {"starts_at", "complete_by"}
WORDS = dict(RoleAssignment.Role.choices) | dict(Privilege.choices)


class Line(NamedTuple):
    """One event as a table shows it. `codes`: its names in the reports of the API."""

    event: AuditEvent
    title: str
    old: str
    new: str
    others: list[tuple[str, str]]
    codes: list[str]


def line_of(event: AuditEvent) -> Line:
    details = event.details
    return Line(
        event=event,
        title=title_of(event.name),
        old=_value(event, details.get("old")) if "old" in details else "",
        new=_value(event, details.get("new")) if "new" in details else "",
        others=list(_others(details)),
        codes=[each.name for each in reported(event)],
    )


def title_of(name: str) -> str:
    """What a name means; one that is not listed yet is told as it is."""
    return str(EVENTS.get(name) or name.replace("_", " ").capitalize())


def _value(event: AuditEvent, value: Any) -> str:
    if isinstance(value, dict) and "setting" in event.details:
        return value_in_words(event.details["setting"], value)
    if value is None:
        return _("Inherited") if event.name == "policy_changed" else ""
    if event.name.startswith("role_"):
        role, _colon, privileges = str(value).partition(": ")
        names = [role, *filter(None, privileges.split(", "))]
        return ", ".join(str(WORDS.get(name, name)) for name in names)
    return str(value)


def _others(details: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What else is known, but for the names of things that stand in the line already."""
    for key, value in details.items():
        if key not in {"old", "new", "unit_id", "setting"} and value not in ("", None):
            told = date_and_zone(datetime.fromisoformat(value)) if key in MOMENTS else str(value)
            yield str(DETAILS.get(key) or key.replace("_", " ")), told

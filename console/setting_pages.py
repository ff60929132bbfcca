"""Where each setting of a unit is changed."""

from policies.models import Setting

# Names of views that take the unit's number.
PAGES: dict[str, str] = {
    Setting.PER_USER_OUTBOUND_GATEWAY: "console:mail_advanced",
    Setting.GATEWAY_FAILURE: "console:failure",
    Setting.GATEWAY_GUARDRAILS: "console:guardrails",
    Setting.OUTBOUND_GATEWAY: "console:outbound",
}

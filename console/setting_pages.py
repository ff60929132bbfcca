"""Where each setting of a unit is changed."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from policies.models import Setting

# Names of views that take the unit's number.
PAGES: dict[str, str] = {
    Setting.PER_USER_OUTBOUND_GATEWAY: "console:mail_advanced",
    Setting.GATEWAY_FAILURE: "console:failure",
    Setting.GATEWAY_GUARDRAILS: "console:guardrails",
    Setting.OUTBOUND_GATEWAY: "console:outbound",
}
TITLES: dict[str, str | Promise] = {
    Setting.PER_USER_OUTBOUND_GATEWAY: _("Advanced settings"),
    Setting.GATEWAY_FAILURE: _("Own server fails"),
    Setting.GATEWAY_GUARDRAILS: _("Guardrails"),
    Setting.OUTBOUND_GATEWAY: _("Outbound gateway"),
}

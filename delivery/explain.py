"""The reason for a route in a sentence, for every page that shows one."""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from delivery.routing import Explanation, Rule

SENTENCES: dict[str, Callable[[], str]] = {
    Rule.SUSPENDED: lambda: _("The account was suspended."),
    Rule.NOT_OWNED: lambda: _("From was not one of the account's addresses."),
    Rule.UNVERIFIED: lambda: _("The address was not verified yet."),
    Rule.ADDRESS_SUSPENDED: lambda: _(
        "The address was suspended: its owner had not proved it again in time."
    ),
    Rule.PRIMARY: lambda: _("The primary address always leaves by our servers."),
    Rule.OWN_ALIAS: lambda: _("The address is an alias inside the organisation."),
    Rule.NO_GATEWAY: lambda: _("The address has no server of its own."),
    Rule.GATEWAY_OFF: lambda: _(
        "The address has its own server, but gateways are off %(decider)s."
    ),
    Rule.GATEWAY: lambda: _("Gateways are on %(decider)s, and the address has its own server."),
    Rule.GATEWAY_WIPED: lambda: _(
        "An administrator had the password for the address's own server deleted."
    ),
    Rule.GATEWAY_BROKEN: lambda: _("The address's own server no longer accepts the password."),
    Rule.OUR_SERVERS_INSTEAD: lambda: _(
        "The address's own server did not work, and its unit lets our servers carry it then."
    ),
    Rule.REPORT: lambda: _("A report of ours about a message that could not be delivered."),
}


def explain(explanation: Explanation | Mapping[str, Any]) -> str:
    """The sentence for an explanation, fresh from the decision or as a delivery keeps it."""
    stored = explanation.as_json() if isinstance(explanation, Explanation) else explanation
    sentence = SENTENCES.get(str(stored.get("rule")))
    return sentence() % {"decider": _decider(stored)} if sentence else ""


def _decider(stored: Mapping[str, Any]) -> str:
    if not stored["deciding_unit"]:
        return _("by default")
    return _("for %(unit)s") % {"unit": stored["deciding_unit"]}

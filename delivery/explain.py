"""The reason for a route in a sentence, for every page that shows one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from delivery.models import Delivery
from delivery.routing import AccountSnapshot, Explanation, Refusal, Route, RouteKind, Rule
from policies.guardrails import Guardrail

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
    Rule.GATEWAY_FORBIDDEN: lambda: _(
        "The address has its own server, but the guardrail “%(guardrail)s” %(decider)s does not "
        "let it be used."
    ),
    Rule.GATEWAY_WAITS: lambda: _(
        "The address has its own server, which an administrator has not approved yet."
    ),
    Rule.GATEWAY_UNAPPROVED: lambda: _(
        "The address has its own server, which an administrator refused."
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


class RouteWords(NamedTuple):
    """A decision as parts/route_badge.html takes it; `kind` is "" where mail is refused.

    `may_wait`: what is stopped is not refused, but waits for the server to work again.
    """

    kind: str
    host: str
    behalf_of: str
    reason: str
    rule: str = ""
    may_wait: bool = False

    @property
    def lacks_password(self) -> bool:
        """Of a planned route: its address has its own server, but no password that works."""
        return self.kind == "stopped" or self.rule == Rule.OUR_SERVERS_INSTEAD


def explain(explanation: Explanation | Mapping[str, Any]) -> str:
    """The sentence for an explanation, fresh from the decision or as a delivery keeps it."""
    stored = explanation.as_json() if isinstance(explanation, Explanation) else explanation
    sentence = SENTENCES.get(str(stored.get("rule")))
    if sentence is None:
        return ""
    told = sentence() % {"decider": _decider(stored), "guardrail": _guardrail(stored)}
    return f"{told} {_outbound(stored)}".rstrip()


def _outbound(stored: Mapping[str, Any]) -> str:
    if not stored.get("outbound"):
        return ""
    return _("It leaves by the outbound gateway of %(unit)s.") % {"unit": stored["outbound"]}


def _guardrail(stored: Mapping[str, Any]) -> str:
    guardrail = stored.get("guardrail")
    return str(Guardrail(guardrail).label) if guardrail else ""


def _decider(stored: Mapping[str, Any]) -> str:
    if not stored["deciding_unit"]:
        return _("by default")
    return _("for %(unit)s") % {"unit": stored["deciding_unit"]}


def route_words(account: AccountSnapshot, address: str, answer: Route | Refusal) -> RouteWords:
    """A decision about that address of the account, as a badge and a reason."""
    reason = explain(answer.explanation)
    if isinstance(answer, Refusal):
        if answer.explanation.rule in {Rule.GATEWAY_BROKEN, Rule.GATEWAY_WIPED}:
            gateway = account.outside[address].gateway
            host = gateway.server.host if gateway else ""
            return RouteWords("stopped", host, "", reason, may_wait=answer.may_wait)
        return RouteWords("", "", "", reason)
    host = answer.server.host if answer.kind == RouteKind.GATEWAY else ""
    return RouteWords(answer.kind, host, answer.sender, reason, answer.explanation.rule)


def attempt_words(delivery: Delivery) -> RouteWords:
    """The way that an attempt went, as the log keeps it."""
    is_gateway = delivery.route == RouteKind.GATEWAY
    host = delivery.server.rpartition(":")[0] if is_gateway else ""
    return RouteWords(delivery.route, host, delivery.sender, explain(delivery.explanation))

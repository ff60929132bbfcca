"""A decision step by step: the lines of delivery/routing.py's table, and the one that decided.

The first line that matches decides. So an explanation's rule says of each line before it that it
did not match, and of those after it that they were not reached.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from delivery.routing import Rule


class Line(NamedTuple):
    """What is asked, and what becomes of a message where that is so."""

    title: str | Promise
    outcome: str | Promise


_REFUSED = _("The message is refused, and nothing is sent.")
_OURS = _("It leaves by our servers, with From as envelope sender and without Sender.")
_BEHALF = _("It leaves by our servers, with the primary address as envelope sender and Sender.")
_HELD = _("Nothing is sent. The message is refused, or waits where the unit has chosen that.")

# In the order in which `decide` looks at them; a test holds the two together.
LINES = {
    Rule.SUSPENDED: Line(_("The account is suspended"), _REFUSED),
    Rule.PRIMARY: Line(_("From is the account's primary address"), _OURS),
    Rule.OWN_ALIAS: Line(_("From is an alias of the account inside the organisation"), _OURS),
    Rule.NOT_OWNED: Line(_("From is somebody else's address"), _REFUSED),
    Rule.UNVERIFIED: Line(_("Ownership of the address is still to be proved"), _REFUSED),
    Rule.ADDRESS_SUSPENDED: Line(
        _("The address is suspended, for it was not proved again in time"), _REFUSED
    ),
    Rule.NO_GATEWAY: Line(_("The address has no server of its own"), _BEHALF),
    Rule.GATEWAY_OFF: Line(_("Own servers are off for the account"), _BEHALF),
    Rule.GATEWAY_FORBIDDEN: Line(_("A guardrail forbids the server of the address"), _BEHALF),
    Rule.GATEWAY_UNAPPROVED: Line(
        _("An administrator did not approve the server of the address"), _BEHALF
    ),
    Rule.GATEWAY_WAITS: Line(
        _("The server of the address waits for an administrator's approval"), _BEHALF
    ),
    Rule.OUR_SERVERS_INSTEAD: Line(
        _("The server of the address does not work, and our servers carry its mail then"), _BEHALF
    ),
    Rule.GATEWAY_WIPED: Line(_("An administrator had its server's password deleted"), _HELD),
    Rule.GATEWAY_BROKEN: Line(_("The server of the address refuses the password"), _HELD),
    Rule.GATEWAY: Line(
        _("The address has a server of its own, and may use it"),
        _("It leaves by that server, with From as envelope sender and without Sender."),
    ),
}


class Rung(NamedTuple):
    """`state`: no, decides or unreached. `detail`: what was known there."""

    number: int
    rule: Rule
    line: Line
    state: str
    detail: str

    @property
    def is_policy(self) -> bool:
        """Whether it is here that the policy is asked, and it was."""
        return self.rule == Rule.GATEWAY_OFF and self.state != "unreached"


def ladder(explanation: Mapping[str, Any], details: Mapping[Rule, str] | None = None) -> list[Rung]:
    """The rungs of a stored explanation; none where no line of the table decided."""
    rules = list(LINES)
    if explanation.get("rule") not in rules:
        return []
    decided = rules.index(explanation["rule"])
    return [
        Rung(
            number=place + 1,
            rule=rule,
            line=LINES[rule],
            state="no" if place < decided else "decides" if place == decided else "unreached",
            detail=(details or {}).get(rule, "") if place <= decided else "",
        )
        for place, rule in enumerate(rules)
    ]

"""Own servers of an account that guardrails keep unused."""

from collections.abc import Mapping
from typing import NamedTuple

from delivery.explain import RouteWords
from delivery.routing import Rule

BY_GUARDRAILS = {Rule.GATEWAY_FORBIDDEN, Rule.GATEWAY_WAITS, Rule.GATEWAY_UNAPPROVED}


class Unused(NamedTuple):
    """Addresses whose own server guardrails don't let be used; whether those are all there are."""

    reasons: list[tuple[str, str]]
    is_all: bool


def unused_of(routes: Mapping[str, RouteWords]) -> Unused:
    """`routes`: the account's, with own servers on."""
    reasons = [
        (address, words.reason) for address, words in routes.items() if words.rule in BY_GUARDRAILS
    ]
    is_used = any(words.host or words.rule == Rule.OUR_SERVERS_INSTEAD for words in routes.values())
    return Unused(reasons, is_all=not is_used)

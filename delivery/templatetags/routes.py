"""The route of each of an account's addresses, for pages that show it as a badge."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from django import template

from accounts.models import User
from delivery.explain import explain
from delivery.models import Delivery
from delivery.routing import AccountSnapshot, AppliedSettings, Refusal, RouteKind, Rule, decide
from delivery.services import load_account, load_settings

register = template.Library()


class RouteWords(NamedTuple):
    """A decision as parts/route_badge.html takes it; `kind` is "" where mail is refused."""

    kind: str
    host: str
    behalf_of: str
    reason: str


@register.simple_tag
def routes_of(user: User, *, gateways_allowed: bool | None = None) -> dict[str, RouteWords]:
    """What the decision says for each address of `user` now, in a fixed number of queries.

    `gateways_allowed` asks what it will say once the policy has that value.
    """
    account, settings = load_account(user), load_settings(user)
    if gateways_allowed is not None:
        settings = replace(settings, gateways_allowed=gateways_allowed)
    addresses = (account.primary_address, *account.own_aliases, *account.outside)
    return {address: words_of(account, address, settings) for address in addresses}


def route_of(delivery: Delivery) -> RouteWords:
    """By which way an attempt went; its server without the port."""
    is_gateway = delivery.route == RouteKind.GATEWAY
    host = delivery.server.rpartition(":")[0] if is_gateway else ""
    return RouteWords(delivery.route, host, delivery.sender, explain(delivery.explanation))


@register.filter
def of_address(routes: Mapping[str, RouteWords], address: str) -> RouteWords:
    return routes[address]


def words_of(account: AccountSnapshot, address: str, settings: AppliedSettings) -> RouteWords:
    answer = decide(account, address, settings)
    reason = explain(answer.explanation)
    if isinstance(answer, Refusal):
        if answer.explanation.rule in {Rule.GATEWAY_BROKEN, Rule.GATEWAY_WIPED}:
            gateway = account.outside[address].gateway
            return RouteWords("stopped", gateway.server.host if gateway else "", "", reason)
        return RouteWords("", "", "", reason)
    host = answer.server.host if answer.kind == RouteKind.GATEWAY else ""
    return RouteWords(answer.kind, host, answer.sender, reason)

"""The route of each of an account's addresses, for pages that show it as a badge."""

from collections.abc import Mapping
from dataclasses import replace

from django import template

from accounts.models import User
from delivery.explain import RouteWords, route_words
from delivery.routing import decide
from delivery.services import load_account, load_settings

register = template.Library()


@register.simple_tag
def routes_of(
    user: User, *, gateways_allowed: bool | None = None, once_proved: bool = False
) -> dict[str, RouteWords]:
    """What the decision says for each address of `user` now, in a fixed number of queries.
    `gateways_allowed` asks what it will say once the policy has that value; `once_proved`, what
    for an address that waits for its first proof.
    """
    account, settings = load_account(user), load_settings(user)
    if gateways_allowed is not None:
        settings = replace(settings, gateways_allowed=gateways_allowed)
    if once_proved:
        proved = {name: replace(row, verified=True) for name, row in account.outside.items()}
        account = replace(account, outside=proved)
    addresses = (account.primary_address, *account.own_aliases, *account.outside)
    return {
        address: route_words(account, address, decide(account, address, settings))
        for address in addresses
    }


@register.filter
def of_address(routes: Mapping[str, RouteWords], address: str) -> RouteWords:
    return routes[address]

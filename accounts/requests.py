from allauth.account.adapter import get_adapter
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from accounts.services.audit import Actor


class SignedInRequest(HttpRequest):
    """What a view behind `signed_in` gets."""

    user: User
    htmx: HtmxDetails


def actor_of(request: HttpRequest) -> Actor:
    """Who acts, for the audit: the signed-in account and the client's network address."""
    user = request.user if isinstance(request.user, User) else None
    return Actor(user, get_adapter().get_client_ip(request))

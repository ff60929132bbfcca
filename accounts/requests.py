from allauth.account.adapter import get_adapter
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from accounts.services.audit import Actor


class SignedInRequest(HttpRequest):
    """What a view behind `signed_in` gets."""

    user: User
    htmx: HtmxDetails


class TypedRequest(SignedInRequest):
    """What a view behind `keeps_typed` gets; `is_late`: from a session that has ended."""

    is_late: bool


def actor_of(request: HttpRequest) -> Actor:
    """Who acts, for the audit: the signed-in account and the client's network address.

    Raise PermissionDenied for nobody: an actor without an account is the system, which may all.
    """
    if not isinstance(request.user, User):
        raise PermissionDenied
    return Actor(request.user, get_adapter().get_client_ip(request))

"""Who has a role must have used a second factor in this session before it counts."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRefresh

from accounts.models import User

AnyView = Callable[..., HttpResponseBase]


def is_demanded_of(user: User) -> bool:
    return user.is_admin or user.is_staff


def has_second_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists())


def lead_to_second_factor(request: HttpRequest) -> HttpResponseBase | None:
    """Where somebody with a role has to go first; the page there leads back. None: go on.

    Asked at every request: a role that is given, or a factor that is reset, counts at once.
    """
    user = request.user
    if not isinstance(user, User) or not is_demanded_of(user):
        return None
    page = "mfa_activate_totp"
    if has_second_factor(user):
        records = get_authentication_records(request, user)
        if any(record["method"] == "mfa" for record in records):
            return None
        page = "mfa_reauthenticate"
    # A part that polls must not have another page swapped into it.
    if request.headers.get("HX-Request"):
        return HttpResponseClientRefresh()
    return redirect(f"{reverse(page)}?{urlencode({'next': request.get_full_path()})}")


def demanding_second_factor(admin_view: Callable[..., AnyView]) -> Callable[..., AnyView]:
    """Django admin's `admin_view`, through which each of its pages goes, asking for it too."""

    @wraps(admin_view)
    def wrap(view: AnyView, *args: Any, **kwargs: Any) -> AnyView:
        inner = admin_view(view, *args, **kwargs)

        @wraps(inner)
        def guarded(request: HttpRequest, /, *args: Any, **kwargs: Any) -> HttpResponseBase:
            user = request.user
            staff = isinstance(user, User) and user.has_module_perms("")
            led = lead_to_second_factor(request) if staff else None
            return led or inner(request, *args, **kwargs)

        return guarded

    return wrap

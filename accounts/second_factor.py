"""Who has a role must have used a second factor in this session before it counts."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

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


def lead_to_second_factor(request: HttpRequest) -> HttpResponseBase | None:
    """Where somebody with a role has to go first; the page there leads back. None: go on.

    Asked at every request: a role that is given, or a factor that is reset, counts at once.
    """
    user = request.user
    if not isinstance(user, User) or not is_demanded_of(user):
        return None
    factor = second_factor_of(user)
    if factor is None:
        return _lead(request, "mfa_activate_totp")
    return None if _was_used(request, factor) else _lead(request, "mfa_reauthenticate")


def using_second_factor(view: AnyView) -> AnyView:
    """Whoever has one must have used it in this session, with or without a role.

    For the pages that remove it or tell recovery codes: else a session that is older than the
    factor would get past it with the password alone.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = request.user
        factor = second_factor_of(user) if isinstance(user, User) else None
        if factor and not _was_used(request, factor):
            return _lead(request, "mfa_reauthenticate")
        return view(request, *args, **kwargs)

    return guarded


def second_factor_of(user: User) -> Authenticator | None:
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first()


def _was_used(request: HttpRequest, factor: Authenticator) -> bool:
    """In this session, and since it was set up: the use of one before it counts no more."""
    set_up_at = factor.created_at.timestamp()
    records = get_authentication_records(request, request.user)
    return any(record["method"] == "mfa" and record["at"] >= set_up_at for record in records)


def _lead(request: HttpRequest, page: str) -> HttpResponseBase:
    # A part that polls must not have another page swapped into it.
    if request.headers.get("HX-Request"):
        return HttpResponseClientRefresh()
    return redirect(f"{reverse(page)}?{urlencode({'next': _way_back(request)})}")


def _way_back(request: HttpRequest) -> str:
    """The page asked for; for what was posted, the page of the form: its target may show none."""
    if request.method in {"GET", "HEAD"}:
        return request.get_full_path()
    form = urlsplit(request.headers.get("Referer", ""))
    return urlunsplit(form._replace(scheme="", netloc="")) or reverse("home")


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

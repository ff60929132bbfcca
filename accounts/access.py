"""The only way from a request to what belongs to an account: 404 to everybody else."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django_htmx.http import HttpResponseClientRefresh

from accounts.models import AppPassword
from accounts.requests import SignedInRequest

P = ParamSpec("P")


def signed_in(
    view: Callable[Concatenate[SignedInRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Let accounts in, and send everybody else to the sign-in."""

    @login_required
    def show(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return view(cast("SignedInRequest", request), *args, **kwargs)

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        # A part that polls must not have the sign-in page swapped into it.
        if request.headers.get("HX-Request") and not request.user.is_authenticated:
            return HttpResponseClientRefresh()
        return show(request, *args, **kwargs)

    return guarded


def usable_app_password(request: SignedInRequest, key: str) -> AppPassword:
    """The signed-in account's app password with this id, unless it is revoked."""
    for app_password in request.user.app_passwords.filter(revoked_at=None):
        if str(app_password.pk) == key:
            return app_password
    raise Http404

"""A form from a page of a session that has ended is shown again as typed: nothing is lost or done.

Nothing is kept here for it. The browser sends what was typed, and the form says, signed, which
account its page was made for: no other one is shown it.
"""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec, TypeVar, cast

from django import forms
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from accounts.access import signed_in
from accounts.models import User
from accounts.requests import SignedInRequest, TypedRequest

P = ParamSpec("P")
Form = TypeVar("Form", bound=forms.BaseForm)
FIELD = "typed_by"  # templates/parts/typed_by.html puts it into a form


def show_fields(request: HttpRequest) -> HttpResponse:
    """To whoever is signed out: a page that carries what was typed, without passwords."""
    secret = getattr(request, "sensitive_post_parameters", ())
    left_out = {"csrfmiddlewaretoken", *secret}
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in left_out
        for value in values
    ]
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, fields)


def keeps_typed(
    signed_out: Callable[[HttpRequest], HttpResponse] = show_fields,
) -> Callable[
    [Callable[Concatenate[TypedRequest, P], HttpResponseBase]],
    Callable[Concatenate[HttpRequest, P], HttpResponseBase],
]:
    """Like `signed_in`, but a form that comes too late is not lost.

    The view has to answer a request that `is_late` with the form as typed, and do nothing else.
    Passwords are what `sensitive_post_parameters` around it names.
    """

    def decorate(
        view: Callable[Concatenate[TypedRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @signed_in
        def show(signed: SignedInRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            return view(cast("TypedRequest", signed), *args, **kwargs)

        @csrf_exempt  # checked in here
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            typed = cast("TypedRequest", request)
            typed.is_late = False
            if request.method != "POST":
                return show(request, *args, **kwargs)
            made_for = _account_of(request.POST.get(FIELD, ""))
            if not request.user.is_authenticated:
                return signed_out(request) if made_for else show(request, *args, **kwargs)
            if made_for and made_for != str(request.user.pk):
                return _answer(request, HTTPStatus.FORBIDDEN)
            refused = CsrfViewMiddleware(show).process_view(request, show, (), {})
            if refused and not made_for:
                return refused
            # The token is of before the last sign-in.
            typed.is_late = refused is not None
            return show(request, *args, **kwargs)

        return guarded

    return decorate


def stamp(request: HttpRequest) -> str:
    """For the hidden field: whom the page is made for; when signed out, as it came."""
    if isinstance(request.user, User):
        return _signer().sign(str(request.user.pk))
    return request.POST.get(FIELD, "")


def unjudged(form: Form) -> Form:
    """The posted form as it was typed, without a word about it; it is never valid."""
    for name, field in form.fields.items():
        key, widget = form.add_prefix(name), field.widget
        if not widget.value_omitted_from_data(form.data, form.files, key):
            form.initial[name] = widget.value_from_datadict(form.data, form.files, key)
    form.is_bound = False
    return form


def _account_of(stamped: str) -> str:
    try:
        return _signer().unsign(stamped)
    except BadSignature:
        return ""


def _signer() -> Signer:
    return Signer(salt=__name__)


def _answer(
    request: HttpRequest, status: HTTPStatus, fields: list[tuple[str, str]] | None = None
) -> HttpResponse:
    return render(request, "accounts/late_form.html", {"fields": fields}, status=status)

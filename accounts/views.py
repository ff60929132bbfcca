"""A person's own account pages: app passwords."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import usable_app_password
from accounts.forms import AppPasswordForm
from accounts.late_forms import keeps_typed, unjudged
from accounts.mail_programs import submission_settings
from accounts.models import AppPassword
from accounts.models.app_passwords import digest_secret
from accounts.requests import SignedInRequest, TypedRequest, actor_of
from accounts.services.app_passwords import create_app_password, revoke_app_password

# Carries the secret from the answer that makes it to the page that shows it, in the browser of its
# owner only: nothing here keeps it, and a reload makes no second one.
COOKIE = "new_app_password"
COOKIE_SECONDS = 60


# The one answer that holds a secret must not stay in a cache.
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@keeps_typed()
def app_passwords(request: TypedRequest) -> HttpResponse:
    """List, create, revoke. A link with `?revoke=` asks first. A new secret is shown once."""
    if request.is_late:
        return _show(request, unjudged(AppPasswordForm(request.POST)))
    if "revoke" in request.POST:
        return _revoke(request)
    if "create" in request.POST:
        return _create(request)
    asked = None
    if "revoke" in request.GET:
        asked = usable_app_password(request, request.GET["revoke"])
    secret = request.COOKIES.get(COOKIE, "")
    answer = _show(request, AppPasswordForm(), asked=asked, secret=secret)
    if secret:
        answer.delete_cookie(COOKIE, path=request.path, samesite="Strict")
    return answer


def _revoke(request: SignedInRequest) -> HttpResponse:
    app_password = usable_app_password(request, request.POST["revoke"])
    revoke_app_password(actor=actor_of(request), app_password=app_password)
    return redirect("accounts:app_passwords")


def _create(request: SignedInRequest) -> HttpResponse:
    form = AppPasswordForm(request.POST)
    if not form.is_valid():
        return _show(request, form)
    try:
        _created, secret = create_app_password(
            actor=actor_of(request), user=request.user, name=form.cleaned_data["name"]
        )
    except ValidationError as refusal:
        form.add_error(None, refusal)
        return _show(request, form)
    answer = redirect("accounts:app_passwords")
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=COOKIE_SECONDS,
        path=reverse("accounts:app_passwords"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return answer


def _show(
    request: SignedInRequest,
    form: AppPasswordForm,
    *,
    asked: AppPassword | None = None,
    secret: str = "",
) -> HttpResponse:
    usable = request.user.app_passwords.filter(revoked_at=None)
    context = {
        "form": form,
        "app_passwords": usable,
        "asked": asked,
        # Only what is this account's own: the browser may have changed hands.
        "created": usable.filter(digest=digest_secret(secret)).first() if secret else None,
        "secret": secret,
        **submission_settings(),
    }
    return render(request, "accounts/app_passwords.html", context)

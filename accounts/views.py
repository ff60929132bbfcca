"""A person's own account pages: app passwords."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import signed_in, usable_app_password
from accounts.forms import AppPasswordForm
from accounts.models import AppPassword
from accounts.requests import SignedInRequest, actor_of
from accounts.services.app_passwords import create_app_password, revoke_app_password


# The one answer that holds a secret must not stay in a cache.
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def app_passwords(request: SignedInRequest) -> HttpResponse:
    """List, create, revoke. A link with `?revoke=` asks first."""
    if "revoke" in request.POST:
        return _revoke(request)
    if "create" in request.POST:
        return _create(request)
    asked = None
    if "revoke" in request.GET:
        asked = usable_app_password(request, request.GET["revoke"])
    return _show(request, AppPasswordForm(), asked=asked)


def _revoke(request: SignedInRequest) -> HttpResponse:
    app_password = usable_app_password(request, request.POST["revoke"])
    revoke_app_password(actor=actor_of(request), app_password=app_password)
    return redirect("accounts:app_passwords")


def _create(request: SignedInRequest) -> HttpResponse:
    """Answer with the secret at once: nothing keeps it, so a redirect could not show it."""
    form = AppPasswordForm(request.POST)
    if not form.is_valid():
        return _show(request, form)
    created, secret = create_app_password(
        actor=actor_of(request), user=request.user, name=form.cleaned_data["name"]
    )
    return _show(request, AppPasswordForm(), created=created, secret=secret)


def _show(
    request: SignedInRequest,
    form: AppPasswordForm,
    *,
    asked: AppPassword | None = None,
    created: AppPassword | None = None,
    secret: str = "",
) -> HttpResponse:
    context = {
        "form": form,
        "app_passwords": request.user.app_passwords.filter(revoked_at=None),
        "asked": asked,
        "created": created,
        "secret": secret,
        "host": settings.OUTGATE_HOSTNAME,
        "starttls_port": settings.OUTGATE_SUBMISSION_PORT,
        "tls_port": settings.OUTGATE_SUBMISSIONS_PORT,
    }
    return render(request, "accounts/app_passwords.html", context)

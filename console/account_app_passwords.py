"""An account's app passwords, to revoke one or all: a laptop was lost."""

from http import HTTPStatus

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import AppPassword, User
from accounts.requests import actor_of
from accounts.services.app_passwords import revoke_all_app_passwords, revoke_app_password
from console.access import AdminRequest
from console.account_actions import managing, not_done, path_to

ALL = "all"


def account_app_passwords_page(request: AdminRequest, user: User) -> HttpResponse:
    """The list; a link with `?revoke=` asks first. A POST asks the service."""
    if request.method != "POST":
        return _show(request, user, request.GET.get("revoke", ""))
    chosen = request.POST.get("revoke", "")
    try:
        revoked = _revoke(request, user, chosen)
    except PermissionDenied as refusal:
        return _show(request, user, why=not_done(refusal))
    if revoked:
        messages.success(request, revoked)
    else:
        messages.info(request, _("It was revoked already. Nothing was done."))
    return redirect("console:account_app_passwords", user.pk)


def _revoke(request: AdminRequest, user: User, chosen: str) -> str:
    """What was done, in words."""
    actor = actor_of(request)
    if chosen == ALL:
        count = revoke_all_app_passwords(actor=actor, user=user)
        told = ngettext(
            "%(count)d app password of %(address)s is revoked.",
            "%(count)d app passwords of %(address)s are revoked.",
            count,
        )
        return told % {"count": count, "address": user.primary_address} if count else ""
    one = next((each for each in _usable(user) if str(each.pk) == chosen), None)
    if one is None:
        return ""
    revoke_app_password(actor=actor, app_password=one)
    return _("The app password for %s is revoked.") % one.name


def _usable(user: User) -> list[AppPassword]:
    return list(user.app_passwords.filter(revoked_at=None).select_related("user__unit"))


def _show(request: AdminRequest, user: User, asked: str = "", why: str = "") -> HttpResponse:
    managed = managing(request, user)
    usable = _usable(user) if managed["can_manage"] else []
    context = {
        **managed,
        "account": user,
        "app_passwords": usable,
        "asked": next((each for each in usable if str(each.pk) == asked), None),
        "asks_all": asked == ALL and bool(usable),
        "why": why,
        "path": path_to(user, _("App passwords")),
    }
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, "console/account_app_passwords.html", context, status=status)

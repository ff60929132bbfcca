"""What an account is called: its name, and its aliases."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.requests import actor_of
from accounts.services.people import add_alias, remove_alias, rename_user
from console.access import AdminRequest
from console.account_actions import managing, not_done, path_to
from console.forms import AliasForm, RenameForm


def account_rename_page(request: AdminRequest, user: User) -> HttpResponse:
    if request.method != "POST":
        initial = {"name": user.name, "seen_name": user.name}
        return _ask_name(request, user, RenameForm(initial=initial))
    form = RenameForm(request.POST)
    if not form.is_valid():
        return _ask_name(request, user, form)
    name = form.cleaned_data["name"]
    try:
        rename_user(actor=actor_of(request), user=user, **form.cleaned_data)
    except ValidationError as refusal:
        user.refresh_from_db(fields=["name"])
        form = RenameForm(initial={"name": name, "seen_name": user.name})
        return _ask_name(request, user, form, refusal.messages[0])
    except PermissionDenied as refusal:
        return _ask_name(request, user, form, not_done(refusal))
    told = {"address": user.primary_address, "name": name}
    messages.success(request, _("%(address)s is called %(name)s now.") % told)
    return redirect("console:account", user.pk)


def _ask_name(request: AdminRequest, user: User, form: RenameForm, why: str = "") -> HttpResponse:
    context = {"form": form, "path": path_to(user, _("Rename"))}
    return _answer(request, "console/account_rename.html", user, context, why)


def account_aliases_page(request: AdminRequest, user: User) -> HttpResponse:
    """The list; a link with `?remove=` asks first. A POST adds one or removes one."""
    if request.method != "POST":
        return _show_aliases(request, user, AliasForm(), request.GET.get("remove", ""))
    form = AliasForm() if "remove" in request.POST else AliasForm(request.POST)
    try:
        if form.is_bound:
            done = _add(request, user, form)
        else:
            done = _remove(request, user, request.POST["remove"])
    except PermissionDenied as refusal:
        return _show_aliases(request, user, form, why=not_done(refusal))
    if not done:
        return _show_aliases(request, user, form)
    messages.success(request, done)
    return redirect("console:account_aliases", user.pk)


def _add(request: AdminRequest, user: User, form: AliasForm) -> str:
    """What was done, in words; nothing where the form has errors then."""
    if not form.is_valid():
        return ""
    address = form.cleaned_data["address"]
    try:
        add_alias(actor=actor_of(request), user=user, address=address)
    except ValidationError as refusal:
        form.add_error("address", refusal.messages)
        return ""
    return _("%(alias)s is an address of %(address)s now.") % {
        "alias": address,
        "address": user.primary_address,
    }


def _remove(request: AdminRequest, user: User, chosen: str) -> str:
    alias = next((each for each in user.aliases.all() if str(each.pk) == chosen), None)
    if alias is None or not remove_alias(actor=actor_of(request), alias=alias):
        return _("The alias was removed already. Nothing was done.")
    return _("%(alias)s is no address of %(address)s any more.") % {
        "alias": alias.address,
        "address": user.primary_address,
    }


def _show_aliases(
    request: AdminRequest, user: User, form: AliasForm, asked: str = "", why: str = ""
) -> HttpResponse:
    aliases = list(user.aliases.all())
    context = {
        "aliases": aliases,
        "asked": next((each for each in aliases if str(each.pk) == asked), None),
        "form": form,
        "path": path_to(user, _("Aliases")),
    }
    return _answer(request, "console/account_aliases.html", user, context, why)


def _answer(
    request: AdminRequest, template: str, user: User, context: dict[str, Any], why: str
) -> HttpResponse:
    context |= {**managing(request, user), "account": user, "why": why}
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, template, context, status=status)

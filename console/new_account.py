"""Creating an account: first in which unit, then its address and name."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, User
from accounts.models.directory import path_names
from accounts.requests import actor_of
from accounts.services.directory import UnitChangedError, UnitGoneError
from accounts.services.new_accounts import create_account, mail_password_link
from console.access import AdminRequest, administered_units
from console.account_actions import lost_target, not_done
from console.forms import NewAccountForm
from console.seen_account import sign_account
from console.seen_unit import seen_unit, sign_unit
from console.unit_choice import chosen_unit, offered_units, typed_text

TYPED = ("primary_address", "name")


def new_account_page(request: AdminRequest) -> HttpResponse:
    """A POST asks the service, and mails the person a link to choose a password by."""
    units = administered_units(request)
    if request.method != "POST":
        return _ask(request, units, chosen_unit(request, units) or _only(units))
    form = NewAccountForm(request.POST)
    is_valid = form.is_valid()
    to = form.cleaned_data.get("to", 0)
    seen = seen_unit(request, to)
    unit = units.filter(pk=to).first()
    if unit is None:
        return _ask(request, units, None, form, lost_target(to, seen and seen.name))
    if not is_valid:
        return _ask(request, units, unit, form)
    typed = {name: form.cleaned_data[name] for name in TYPED}
    try:
        user = create_account(actor=actor_of(request), unit=unit, seen=seen, **typed)
    except UnitGoneError as refusal:
        return _ask(request, units, None, form, refusal.messages[0])
    except UnitChangedError as refusal:
        return _ask(request, units, units.filter(pk=to).first(), form, refusal.messages[0])
    except PermissionDenied as refusal:
        return _ask(request, units, unit, form, not_done(refusal))
    except ValidationError as refusal:
        form.add_error("primary_address", refusal.messages)
        return _ask(request, units, unit, form)
    _welcome(request, user)
    return redirect("console:account", user.pk)


def _only(units: QuerySet[OrgUnit]) -> OrgUnit | None:
    """Where there is nothing to choose."""
    first = list(units[:2])
    return first[0] if len(first) == 1 else None


def _welcome(request: AdminRequest, user: User) -> None:
    told = {"address": user.primary_address}
    try:
        mail_password_link(actor=actor_of(request), user=user)
    except ValidationError as refusal:
        created = _("%(address)s is created.") % told
        again = _("Try once more: “Mail the password link…” on this page.")
        messages.warning(request, f"{created} {refusal.messages[0]} {again}")
    else:
        text = _("%(address)s is created. A link to choose a password by was mailed to it.")
        messages.success(request, text % told)


def _ask(
    request: AdminRequest,
    units: QuerySet[OrgUnit],
    unit: OrgUnit | None,
    form: NewAccountForm | None = None,
    why: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {
        "unit": unit,
        "why": why,
        "path": [(_("Accounts"), reverse("console:accounts")), (_("New account"), "")],
    }
    if unit is None:
        context |= offered_units(request, units, form, TYPED)
    else:
        initial = {name: typed_text(request, form, name) for name in TYPED} | {"to": unit.pk}
        context |= {
            "unit_path": path_names(unit),
            "seen_unit": sign_unit(request.user, unit),
            "seen_account": sign_account(request.user, None),
            "has_choice": _only(units) is None,
            "form": NewAccountForm(initial=initial) if form is None or why else form,
        }
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, "console/account_new.html", context, status=status)

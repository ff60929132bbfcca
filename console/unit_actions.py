"""Creating, renaming and deleting a unit: for super administrators."""

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import OrgUnit
from accounts.models.directory import path_names
from accounts.requests import actor_of
from accounts.services.directory import (
    UnitChangedError,
    UnitGoneError,
    create_unit,
    delete_unit,
    rename_unit,
    what_keeps,
)
from console.access import AdminRequest
from console.forms import ReasonForm, UnitMoveForm, UnitNameForm
from console.kept_form import kept_form, notice_of_lost
from console.save_notices import Notice, gone, not_permitted
from console.seen_unit import seen_unit, sign_unit
from policies.models import GatewayPolicy, Setting

KEPT = gettext_lazy("What you typed")
TITLES: dict[type[forms.Form], Promise] = {
    UnitNameForm: gettext_lazy("Name of a unit"),
    UnitMoveForm: gettext_lazy("Move a unit"),
    ReasonForm: gettext_lazy("Delete a unit"),
}


def lost_unit(
    request: AdminRequest, unit_id: int, form: type[forms.Form], notice: Notice | None = None
) -> HttpResponse:
    """The answer to a form of a unit that is gone, or from somebody who lost the role."""
    path: list[tuple[str | Promise, str]] = [(_("Units"), "")]
    notice = notice or notice_of_lost(request, unit_id)
    return kept_form(request, form(), notice, TITLES[form], KEPT, path)


def create_unit_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    """A new unit below `unit`."""
    return _name_page(request, unit, UnitNameForm(posted(request)), renames=False)


def rename_unit_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    form = UnitNameForm(posted(request), initial={"name": unit.name})
    return _name_page(request, unit, form, renames=True)


def posted(request: AdminRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def unit_now(unit: OrgUnit) -> OrgUnit:
    now: OrgUnit = OrgUnit.objects.get(pk=unit.pk)
    return now


def _name_page(
    request: AdminRequest, unit: OrgUnit, form: UnitNameForm, *, renames: bool
) -> HttpResponse:
    if not form.is_valid():
        return _ask_name(request, unit, form, renames=renames)
    given: dict[str, Any] = {
        "actor": actor_of(request),
        "name": form.cleaned_data["name"],
        "seen": seen_unit(request, unit.pk),
    }
    try:
        saved = rename_unit(unit=unit, **given) if renames else create_unit(parent=unit, **given)
    except UnitGoneError:
        return lost_unit(request, unit.pk, UnitNameForm, gone(unit.name))
    except PermissionDenied:
        return lost_unit(request, unit.pk, UnitNameForm, not_permitted(unit.name))
    except UnitChangedError as refusal:
        return _ask_name(request, unit_now(unit), form, refusal.messages[0], renames=renames)
    except ValidationError as refusal:
        form.add_error("name", refusal.messages)
        return _ask_name(request, unit, form, renames=renames)
    if renames:
        messages.success(request, _("The unit is called %s now.") % saved.name)
    else:
        told = {"unit": saved.name, "parent": unit.name}
        messages.success(request, _("%(unit)s stands below %(parent)s now.") % told)
    return redirect("console:unit", saved.pk)


def _ask_name(
    request: AdminRequest, unit: OrgUnit, form: UnitNameForm, why: str = "", *, renames: bool
) -> HttpResponse:
    context = {"form": form, "renames": renames}
    title = _("Rename") if renames else _("New unit")
    return ask_about_unit(request, "console/unit_name.html", unit, title, context, why)


def ask_about_unit(
    request: AdminRequest,
    template: str,
    unit: OrgUnit,
    title: str,
    context: dict[str, Any],
    why: str = "",
) -> HttpResponse:
    """What is seen is what this page shows."""
    context |= {
        "unit": unit,
        "unit_path": path_names(unit),
        "why": why,
        "seen_unit": sign_unit(request.user, unit),
        "path": [
            (_("Units"), reverse("console:units")),
            (unit.name, reverse("console:unit", args=[unit.pk])),
            (title, ""),
        ],
    }
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, template, context, status=status)


def delete_unit_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    form = ReasonForm(posted(request))
    if not form.is_valid():
        return _ask_to_delete(request, unit, form)
    parent = OrgUnit.objects.get_parent(unit)
    try:
        delete_unit(
            actor=actor_of(request), unit=unit, seen=seen_unit(request, unit.pk),
            **form.cleaned_data,
        )  # fmt: skip
    except UnitGoneError:
        return lost_unit(request, unit.pk, ReasonForm, gone(unit.name))
    except ValidationError as refusal:
        return _ask_to_delete(request, unit_now(unit), form, " ".join(refusal.messages))
    except PermissionDenied:
        return lost_unit(request, unit.pk, ReasonForm, not_permitted(unit.name))
    messages.success(request, _("%s is deleted.") % unit.name)
    return redirect("console:unit", parent.pk) if parent else redirect("console:units")


def _ask_to_delete(
    request: AdminRequest, unit: OrgUnit, form: ReasonForm, why: str = ""
) -> HttpResponse:
    own = dict(
        GatewayPolicy.objects.filter(unit=unit, value__isnull=False).values_list("setting", "value")
    )
    server = (own.get(Setting.OUTBOUND_GATEWAY) or {}).get("server") or {}
    context = {
        "form": form,
        "kept_by": what_keeps(unit),
        "own_settings": [Setting(setting).label for setting in sorted(own)],
        "has_password": server.get("credential_id") is not None,
    }
    return ask_about_unit(request, "console/unit_delete.html", unit, _("Delete"), context, why)

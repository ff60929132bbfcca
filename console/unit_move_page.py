"""Moving a unit below another: for super administrators."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.models.directory import path_names
from accounts.requests import actor_of
from accounts.services.directory import UnitGoneError, move_unit
from console.access import AdminRequest, administered_units
from console.forms import UnitMoveForm
from console.move_preview import unit_move
from console.save_notices import gone, not_permitted
from console.seen_unit import seen_unit, sign_unit
from console.unit_actions import ask_about_unit, lost_unit, unit_now
from console.unit_choice import chosen_unit, offered_units, typed_text

PARENT = "seen_parent"


def move_unit_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    """First below which unit, then what the move changes; a POST asks the service."""
    if request.method != "POST":
        return _ask_where(request, unit, chosen_unit(request, _places(request, unit)))
    form = UnitMoveForm(request.POST)
    is_valid = form.is_valid()
    to = form.cleaned_data.get("to", 0)
    parent = administered_units(request).filter(pk=to).first()
    if not is_valid:
        return _ask_where(request, unit, parent, form)
    seen_parent = seen_unit(request, to, PARENT)
    if parent is None:
        name = seen_parent.name if seen_parent else _("The unit")
        why = _("%(unit)s was deleted meanwhile. Nothing was done: choose another unit.")
        return _ask_where(request, unit, None, form, why % {"unit": name})
    try:
        moved = move_unit(
            actor=actor_of(request),
            unit=unit,
            parent=parent,
            reason=form.cleaned_data["reason"],
            seen=seen_unit(request, unit.pk),
            seen_parent=seen_parent,
        )
    except PermissionDenied:
        return lost_unit(request, unit.pk, UnitMoveForm, not_permitted(unit.name))
    except UnitGoneError as refusal:
        if not OrgUnit.objects.filter(pk=unit.pk).exists():
            return lost_unit(request, unit.pk, UnitMoveForm, gone(unit.name))
        return _ask_where(request, unit_now(unit), None, form, refusal.messages[0])
    except ValidationError as refusal:
        unit = unit_now(unit)
        place = _places(request, unit).filter(pk=to).first()
        return _ask_where(request, unit, place, form, refusal.messages[0])
    told = {"unit": moved.name, "parent": parent.name}
    messages.success(request, _("%(unit)s stands below %(parent)s now.") % told)
    return redirect("console:unit", moved.pk)


def _places(request: AdminRequest, unit: OrgUnit) -> QuerySet[OrgUnit]:
    """Where it can stand: neither inside itself nor where it stands."""
    elsewhere = administered_units(request).exclude(path__startswith=unit.path)
    return elsewhere.exclude(path=unit.path[: -OrgUnit.steplen])


def _ask_where(
    request: AdminRequest,
    unit: OrgUnit,
    parent: OrgUnit | None,
    form: UnitMoveForm | None = None,
    why: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {"parent": parent}
    if parent is None:
        context |= offered_units(request, _places(request, unit), form)
    else:
        reason = typed_text(request, form, "reason")
        initial = {"to": parent.pk, "reason": reason}
        context |= {
            "parent_path": path_names(parent),
            "move": unit_move(unit, parent),
            "seen_parent": sign_unit(request.user, parent),
            "form": UnitMoveForm(initial=initial) if form is None or why else form,
        }
    return ask_about_unit(request, "console/unit_move.html", unit, _("Move"), context, why)

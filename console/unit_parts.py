"""What each page of a unit's setting shows: the tree, what is scheduled, how far a save is."""

from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import OrgUnit
from accounts.models.people import cohort_count
from console.access import AdminRequest, administered_changes
from console.rollout import Rollout, load_rollout
from console.row_number import row_number
from console.unit_tree import UnitTree, way_to
from console.wording import own_value
from policies.services import database_now, scheduled_changes


class SaveTitle(NamedTuple):
    """The save bar while the form stands at one of `states`; "saved" is when nothing is unsaved."""

    states: str
    text: str
    becomes: str = ""


def just_saved(request: AdminRequest, unit: OrgUnit, setting: str) -> Rollout | None:
    """The change that the address names, if it is one of this unit and setting."""
    number = row_number(request.GET.get("saved", ""))
    if number is None:
        return None
    changes = administered_changes(request).filter(unit_id=unit.pk, setting=setting)
    change = changes.filter(pk=number).first()
    return load_rollout(change) if change else None


def timing() -> dict[str, object]:
    """When a change saved now would be complete, and in how many waves."""
    window = timedelta(seconds=settings.OUTGATE_ROLLOUT_WINDOW)
    return {"complete_by": database_now() + window, "waves": cohort_count()}


def live_part(
    request: AdminRequest, view_name: str, unit: OrgUnit, saved: Rollout | None
) -> HttpResponse:
    """How far the saved change is; without one, when a change saved now would be complete."""
    context = {
        "saved": saved,
        "url": reverse(view_name, args=[unit.pk]),
        "announce": saved is not None and saved.is_news(request.GET.get("seen")),
        **timing(),
    }
    part = "saved" if saved else "timing"
    return render(request, f"console/parts/save_bar.html#{part}", context)


def unit_parts(
    request: AdminRequest, view_name: str, unit: OrgUnit, setting: str
) -> dict[str, Any]:
    """The context of templates/console/parts/units_column.html and of what surrounds the form."""
    tree = UnitTree(request, view_name, setting)
    way = way_to(unit)
    search = request.GET.get("q", "").strip()
    return {
        **timing(),
        "url": reverse(view_name, args=[unit.pk]),
        "way": way,
        "above": way[:-1],
        "accounts": tree.accounts[unit.path],
        "own_below": tree.own_below[unit.path],
        "nodes": tree.found(search, unit) if search else tree.nodes(unit),
        "search": search,
        "scheduled": [
            (change, own_value(setting, change.new, at_root=unit.is_root()))
            for change in scheduled_changes(unit, setting)
        ],
    }

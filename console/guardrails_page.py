"""Guardrails of one unit: which own servers, how many addresses and recipients, and approval."""

from http import HTTPStatus
from typing import NamedTuple

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.requests import actor_of
from console.access import AdminRequest
from console.gateway_page import just_saved, timing
from console.guardrail_forms import GuardrailsForm, UnitGuardrails, load_unit_guardrails
from console.guardrail_sections import sections_of
from console.rollout import Rollout
from console.save_notices import Notice, changed_by_other, not_permitted, nothing_changed
from console.unit_tree import UnitTree, way_to
from console.wording import own_value
from policies.models import PolicyChange, Setting
from policies.services import StalePolicyError, change_policy, scheduled_changes

GUARDRAILS = Setting.GATEWAY_GUARDRAILS
PAGE = "console:guardrails"


class Shown(NamedTuple):
    """What the page is about in this answer."""

    kept: UnitGuardrails
    form: GuardrailsForm
    saved: Rollout | None = None
    notice: Notice | None = None


def guardrails_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    if request.method == "POST":
        return _save(request, unit)
    saved = just_saved(request, unit, GUARDRAILS)
    if request.htmx:
        return _live_part(request, unit, saved)
    kept = load_unit_guardrails(unit)
    return _answer(request, Shown(kept, GuardrailsForm(kept), saved))


def _save(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    kept = load_unit_guardrails(unit)
    form = GuardrailsForm(kept, request.POST)
    if not form.is_valid():
        return _answer(request, Shown(kept, form))
    try:
        change = change_policy(
            actor=actor_of(request),
            unit=unit,
            setting=GUARDRAILS,
            value=form.value(),
            based_on=form.cleaned_data["based_on"],
            reason=form.cleaned_data["reason"],
            starts_at=form.cleaned_data["starts_at"],
        )
    except StalePolicyError as error:
        if error.newest is None:
            raise  # the form answers for that: it takes no version that was never saved
        if error.newest.actor_id == request.user.pk and error.newest.new == form.value():
            return _saved(unit, error.newest)  # the form was only sent twice
        return _answer(request, _stale(request, unit, error.newest))
    except PermissionDenied:
        return _answer(request, Shown(kept, form, notice=not_permitted(unit)))
    except ValidationError as refusal:
        form.add_error("starts_at", refusal)
        return _answer(request, Shown(kept, form))
    if change is None:
        return _answer(request, Shown(kept, form, notice=nothing_changed(unit)))
    return _saved(unit, change)


def _saved(unit: OrgUnit, change: PolicyChange) -> HttpResponse:
    return redirect(f"{reverse(PAGE, args=[unit.pk])}?saved={change.pk}")


def _stale(request: AdminRequest, unit: OrgUnit, newest: PolicyChange) -> Shown:
    """What was typed, now based on the change that the notice tells of."""
    kept = load_unit_guardrails(unit)
    data = request.POST.copy()
    data["based_on"] = str(newest.version)
    return Shown(kept, GuardrailsForm(kept, data), notice=changed_by_other(unit, newest))


def _live_part(request: AdminRequest, unit: OrgUnit, saved: Rollout | None) -> HttpResponse:
    """How far the saved change is; without one, when a change saved now would be complete."""
    context = {
        "saved": saved,
        "url": reverse(PAGE, args=[unit.pk]),
        "announce": saved is not None and saved.is_news(request.GET.get("seen")),
        **timing(),
    }
    return render(request, f"console/gateway.html#{'saved' if saved else 'timing'}", context)


def _answer(request: AdminRequest, shown: Shown) -> HttpResponse:
    kept, form, _saved, notice = shown
    unit = kept.unit
    tree = UnitTree(request, PAGE, GUARDRAILS)
    way = way_to(unit)
    search = request.GET.get("q", "").strip()
    context = {
        **shown._asdict(),
        **timing(),
        "unit": unit,
        "sections": sections_of(form),
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (_("Mail"), reverse("console:mail")),
            (_("Guardrails"), ""),
        ],
        "url": reverse(PAGE, args=[unit.pk]),
        "way": way,
        "above": way[:-1],
        "accounts": tree.accounts[unit.path],
        "own_below": tree.own_below[unit.path],
        "nodes": tree.found(search, unit) if search else tree.nodes(unit),
        "search": search,
        "legend": _("own guardrails"),
        "scheduled": [
            (change, own_value(GUARDRAILS, change.new, at_root=kept.is_root))
            for change in scheduled_changes(unit, GUARDRAILS)
        ],
        "state": "unsaved" if form.is_unsaved() else "saved",
    }
    status = notice.status if notice else HTTPStatus.OK
    return render(request, "console/guardrails.html", context, status=status)

"""Pause, resume, apply now, undo, reschedule, cancel: one question each, then the service."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.requests import actor_of
from accounts.templatetags.clock import clock_time
from console.access import AdminRequest
from console.forms import ActionForm, TimeForm
from console.previews import routes_told
from console.reach import Reach, reach_of
from console.rollout import Rollout, load_rollout
from policies.models import PolicyChange, RolloutAction, Setting
from policies.services import (
    apply_now,
    cancel,
    database_now,
    inherited_value,
    pause,
    possible_actions,
    reschedule,
    resume,
    rollout_state,
    undo,
)
from policies.words import value_in_words

Kind = RolloutAction.Kind


@dataclass(frozen=True)
class ChangeAction:
    """`question`, `button` and `done` take the number of the change; `keep` leaves all as it is."""

    slug: str
    kind: str
    service: Callable[..., PolicyChange]
    title: str | Promise
    question: str | Promise
    button: str | Promise
    keep: str | Promise
    done: str | Promise
    consequences: Callable[[Rollout, Reach], list[str]]
    form: type[ActionForm] = ActionForm


def _pause(_rollout: Rollout, reach: Reach) -> list[str]:
    return [
        _have_it(
            reach,
            _("%(count)s account has it and keeps it."),
            _("%(count)s accounts have it and keep it."),
        ),
        _("Nobody else gets it until somebody resumes it."),
    ]


def _resume(rollout: Rollout, _reach: Reach) -> list[str]:
    held = rollout.now - (rollout.paused_at or rollout.now)
    by = {"time": clock_time(rollout.change.complete_by + held)}
    return [
        _("The remaining waves come as far apart as they were to, later by the pause."),
        _("Everybody has it by %(time)s.") % by,
    ]


def _apply_now(rollout: Rollout, reach: Reach) -> list[str]:
    left = reach.accounts - reach.have_it
    told = [
        ngettext(
            "%(count)s account gets it within seconds instead of little by little.",
            "%(count)s accounts get it within seconds instead of little by little.",
            left,
        )
        % {"count": f"{left:,}"},
        *_routes(rollout, rollout.change.new),
    ]
    if rollout.state == "scheduled":
        told.append(_("It does not wait for its time."))
    return told


def _undo(rollout: Rollout, reach: Reach) -> list[str]:
    told = [
        _have_it(
            reach,
            _("%(count)s account loses it at once."),
            _("%(count)s accounts lose it at once."),
        ),
        _before(rollout),
        *_routes(rollout, rollout.change.old),
    ]
    if rollout.state == "complete":
        told.append(
            _("To go back little by little, set the old value on the settings page instead.")
        )
    else:
        told.insert(1, _("The others never get it."))
    return told


def _routes(rollout: Rollout, value: dict[str, Any] | None) -> list[str]:
    """Whose mail goes another way once the unit has the value everywhere."""
    return routes_told(rollout.unit, rollout.change.setting, value) if rollout.unit else []


def _before(rollout: Rollout) -> str:
    """What the unit goes back to; where that is to inherit, what it would inherit now."""
    change, unit = rollout.change, rollout.unit
    merges = change.setting == Setting.GATEWAY_GUARDRAILS
    if change.old is not None or unit is None or unit.is_root() or merges:
        return _("The unit's own value is again: %(value)s.") % {"value": rollout.old_text}
    inherited = inherited_value(unit, change.setting)
    told = {"value": value_in_words(change.setting, inherited.value)}
    if inherited.unit is None:
        return _("The unit inherits again. No unit above sets it, so by default: %(value)s.") % told
    return _("The unit inherits again, from %(unit)s: %(value)s.") % {
        "unit": inherited.unit.name,
        **told,
    }


def _not_started(_rollout: Rollout, _reach: Reach) -> list[str]:
    return [_("It has not started, so nobody has it and nobody loses anything.")]


def _have_it(reach: Reach, one: str, many: str) -> str:
    count = reach.have_it
    return (one if count == 1 else many) % {"count": f"{count:,}"}


ACTIONS = {
    action.slug: action
    for action in (
        ChangeAction(
            "pause", Kind.PAUSED, pause,
            title=gettext_lazy("Pause"),
            question=gettext_lazy("Pause change %d?"),
            button=gettext_lazy("Pause change %d"),
            keep=gettext_lazy("Let it go on"),
            done=gettext_lazy("Change %d is paused."),
            consequences=_pause,
        ),
        ChangeAction(
            "resume", Kind.RESUMED, resume,
            title=gettext_lazy("Resume"),
            question=gettext_lazy("Resume change %d?"),
            button=gettext_lazy("Resume change %d"),
            keep=gettext_lazy("Leave it paused"),
            done=gettext_lazy("Change %d goes on."),
            consequences=_resume,
        ),
        ChangeAction(
            "apply-now", Kind.APPLIED_NOW, apply_now,
            title=gettext_lazy("Apply now"),
            question=gettext_lazy("Apply change %d to everybody now?"),
            button=gettext_lazy("Apply change %d now"),
            keep=gettext_lazy("Keep to the plan"),
            done=gettext_lazy("Change %d reaches everybody within seconds."),
            consequences=_apply_now,
        ),
        ChangeAction(
            "undo", Kind.UNDONE, undo,
            title=gettext_lazy("Undo"),
            question=gettext_lazy("Undo change %d?"),
            button=gettext_lazy("Undo change %d"),
            keep=gettext_lazy("Keep it"),
            done=gettext_lazy("Change %d is undone, by this one."),
            consequences=_undo,
        ),
        ChangeAction(
            "reschedule", Kind.RESCHEDULED, reschedule,
            title=gettext_lazy("Reschedule"),
            question=gettext_lazy("When does change %d start?"),
            button=gettext_lazy("Reschedule change %d"),
            keep=gettext_lazy("Keep its time"),
            done=gettext_lazy("Change %d has a new time."),
            consequences=_not_started,
            form=TimeForm,
        ),
        ChangeAction(
            "cancel", Kind.CANCELLED, cancel,
            title=gettext_lazy("Cancel"),
            question=gettext_lazy("Cancel change %d?"),
            button=gettext_lazy("Cancel change %d"),
            keep=gettext_lazy("Keep it"),
            done=gettext_lazy("Change %d is cancelled and never starts."),
            consequences=_not_started,
        ),
    )
}  # fmt: skip


def offered_actions(rollout: Rollout, newer: PolicyChange | None) -> list[ChangeAction]:
    """What the page of a change has buttons for."""
    if rollout.unit is None:
        return []
    state = rollout_state(rollout.change, rollout.change.waves.all())
    possible = set(possible_actions(state))
    if newer or rollout.undone_by or rollout.change.undoes_id:
        possible.discard(Kind.UNDONE)
    return [action for action in ACTIONS.values() if action.kind in possible]


def change_action_page(request: AdminRequest, change: PolicyChange, slug: str) -> HttpResponse:
    """The question with its consequences; a POST asks the service."""
    action = ACTIONS.get(slug)
    if action is None:
        raise Http404
    if request.method != "POST":
        return _ask(request, change, action, _first_form(change, action))
    form = action.form(request.POST)
    if not form.is_valid():
        return _ask(request, change, action, form)
    try:
        result = action.service(actor=actor_of(request), change=change, **form.cleaned_data)
    except ValidationError as refusal:
        return _refused(request, change, action, refusal.messages[0])
    except PermissionDenied:
        return _refused(
            request, change, action, _("You no longer administer this unit. Nothing was done.")
        )
    messages.success(request, action.done % change.pk)
    return redirect("console:rollout", result.pk)


def _first_form(change: PolicyChange, action: ChangeAction) -> ActionForm:
    return action.form(initial={"based_on": change.actions.count(), "starts_at": change.starts_at})


def _refused(
    request: AdminRequest, change: PolicyChange, action: ChangeAction, why: str
) -> HttpResponse:
    """The question again, as it stands now, with what was typed."""
    change.refresh_from_db()
    data = request.POST.copy()
    data["based_on"] = str(change.actions.count())
    return _ask(request, change, action, action.form(data), why)


def _ask(
    request: AdminRequest,
    change: PolicyChange,
    action: ChangeAction,
    form: ActionForm,
    why: str = "",
) -> HttpResponse:
    rollout = load_rollout(change)
    reach = reach_of(change, rollout.unit, rollout.applied)
    state = rollout_state(change, change.waves.all())
    is_possible = action.kind in possible_actions(state) and rollout.unit is not None
    context: dict[str, Any] = {
        "rollout": rollout,
        "action": action,
        "form": form,
        "why": why,
        "question": action.question % change.pk,
        "button": action.button % change.pk,
        "is_possible": is_possible,
        "consequences": action.consequences(rollout, reach) if is_possible else [],
        "now": database_now(),
        "path": [
            (_("Rollouts"), reverse("console:rollouts")),
            (_("Change %d") % change.pk, reverse("console:rollout", args=[change.pk])),
            (action.title, ""),
        ],
    }
    status = HTTPStatus.CONFLICT if why else HTTPStatus.OK
    return render(request, "console/action.html", context, status=status)

"""A page of one unit's setting besides the first one: the form, saving it, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import OrgUnit
from accounts.requests import actor_of
from accounts.services.audit import Actor
from console.access import AdminRequest, read_rights_again
from console.guardrail_impact import load_guardrail_impact
from console.guardrail_impact_lines import guardrail_impact_file
from console.kept_form import kept_form, notice_of_lost, unknown_unit
from console.previews import shown_preview
from console.rollout import Rollout
from console.save_notices import (
    Notice,
    changed_by_other,
    gone,
    moved,
    not_permitted,
    nothing_changed,
)
from console.seen_unit import is_elsewhere, seen_field, seen_path, sign_unit
from console.signed_value import shown_value
from console.unit_parts import SaveTitle, just_saved, live_part, unit_parts
from policies.models import PolicyChange, Setting
from policies.services import MovedUnitError, StalePolicyError, UnitGoneError

KEPT = gettext_lazy("What you typed is kept.")


class UnitForm(Protocol):
    """What the page asks of a form: Django's, and these."""

    cleaned_data: dict[str, Any]

    def is_valid(self) -> bool: ...

    def refuse(self, refusal: Exception) -> None:
        """Tell the reason, by the field that it is about."""

    def value(self) -> dict[str, Any] | None:
        """What would be saved, for counting what it changes."""

    def save(self, *, actor: Actor, unit: OrgUnit, seen_path: str | None) -> PolicyChange | None:
        """Raises as policies.services.change_policy, or one of the page's `refusals`."""

    def is_saved_as(self, change: PolicyChange) -> bool:
        """Whether that change is what this form asks for."""

    def is_unsaved(self) -> bool: ...


@dataclass(frozen=True)
class UnitPage:
    setting: str
    view_name: str
    template: str
    title: str | Promise
    legend: str | Promise
    # How many units below have a value of their own, by their number.
    own_below: Promise
    # What the save bar calls it while it is unsaved, with %(unit)s.
    changed: str | Promise
    form: Callable[[OrgUnit, QueryDict | None], UnitForm]
    # What its template needs of the form besides.
    more: Callable[[Any], dict[str, Any]]
    refusals: tuple[type[Exception], ...] = (ValidationError,)
    kept: str | Promise = KEPT

    def __call__(self, request: AdminRequest, unit: OrgUnit) -> HttpResponseBase:
        if request.method == "POST":
            return self._save(request, unit)
        saved = just_saved(request, unit, self.setting)
        if request.htmx:
            return live_part(request, self.view_name, unit, saved)
        return self._answer(request, unit, Shown(self.form(unit, None), saved))

    def _save(self, request: AdminRequest, unit: OrgUnit) -> HttpResponseBase:
        if request.POST.get("see") == "file" and self.setting == Setting.GATEWAY_GUARDRAILS:
            return self._file(request, unit)
        form = self.form(unit, request.POST)
        if "see" in request.POST:
            return self._see(request, unit, form)
        if is_elsewhere(request, unit):
            return self._moved(request, unit)
        if not form.is_valid():
            return self._answer(request, unit, Shown(form))
        try:
            return self._store(request, unit, form)
        except StalePolicyError as error:
            if error.newest is None:
                raise  # the form answers for that: it takes no version that was never saved
            if error.newest.actor_id == request.user.pk and form.is_saved_as(error.newest):
                return self._saved(unit, error.newest)  # the form was only sent twice
            return self._answer(request, unit, self._stale(request, unit, error.newest))
        except self.refusals as refusal:
            form.refuse(refusal)
            return self._answer(request, unit, Shown(form))

    def _store(self, request: AdminRequest, unit: OrgUnit, form: UnitForm) -> HttpResponse:
        """What is left of the unit, and of the right to it, shows once its row is locked."""
        try:
            change = form.save(
                actor=actor_of(request), unit=unit, seen_path=seen_path(request, unit.pk)
            )
        except MovedUnitError as error:
            return self._moved(request, error.unit)
        except PermissionDenied:
            return self.lost(request, unit.pk, not_permitted(unit.name))
        except UnitGoneError:
            return self.lost(request, unit.pk, gone(unit.name))
        if change is None:
            return self._answer(request, unit, Shown(form, notice=nothing_changed(unit)))
        return self._saved(unit, change)

    def lost(
        self, request: AdminRequest, unit_id: int, notice: Notice | None = None
    ) -> HttpResponse:
        """The answer to a form of a unit that is gone, or no longer administered."""
        form = self.form(unknown_unit(), None)
        notice = notice or notice_of_lost(request, unit_id)
        return kept_form(request, form, notice, self.title, self.kept)

    def _see(self, request: AdminRequest, unit: OrgUnit, form: UnitForm) -> HttpResponse:
        """The form as typed, with what saving it would change."""
        impact = None
        if form.is_valid():
            impact = shown_preview(unit, self.setting, form.value())
        if not request.htmx:
            return self._answer(request, unit, Shown(form, impact=impact))
        context = {
            "form": form,
            "impact_asked": True,
            "url": reverse(self.view_name, args=[unit.pk]),
            **(impact or {}),
        }
        return render(request, "console/unit_page.html#impact", context)

    def _file(self, request: AdminRequest, unit: OrgUnit) -> HttpResponseBase:
        """The same as a file, for the value that was counted: it may be too long for an address."""
        value = shown_value(self.setting, request.POST.get("value", ""))
        return guardrail_impact_file(load_guardrail_impact(unit, value))

    def _saved(self, unit: OrgUnit, change: PolicyChange) -> HttpResponse:
        return redirect(f"{reverse(self.view_name, args=[unit.pk])}?saved={change.pk}")

    def _stale(self, request: AdminRequest, unit: OrgUnit, newest: PolicyChange) -> "Shown":
        """What was typed, now based on the change that the notice tells of."""
        data = request.POST.copy()
        data["based_on"] = str(newest.version)
        return Shown(self.form(unit, data), notice=changed_by_other(unit, newest))

    def _moved(self, request: AdminRequest, unit: OrgUnit) -> HttpResponse:
        """What was typed, now for the unit where it stands."""
        read_rights_again(request)
        shown = Shown(
            self.form(unit, request.POST),
            notice=moved(unit, self.setting),
            seen_unit=sign_unit(request.user, unit),
        )
        return self._answer(request, unit, shown)

    def _answer(self, request: AdminRequest, unit: OrgUnit, shown: "Shown") -> HttpResponse:
        parts = unit_parts(request, self.view_name, unit, self.setting)
        own_below = parts["own_below"]
        context = {
            **shown._asdict(),
            **self.more(shown.form),
            **parts,
            "seen_unit": shown.seen_unit or seen_field(request, unit),
            **(shown.impact or {}),
            "setting": self.setting,
            "page_title": self.title,
            "unit": unit,
            "is_root": unit.is_root(),
            "path": [
                (_("Apps"), ""),
                (_("Suite"), ""),
                (_("Mail"), reverse("console:mail")),
                (self.title, ""),
            ],
            "own_below_text": self.own_below % own_below if own_below else "",
            "unsaved": "unsaved",
            "save_titles": [SaveTitle("unsaved", self.changed % {"unit": unit.name})],
            "kept_text": self.kept,
            "legend": self.legend,
            "state": "unsaved" if shown.form.is_unsaved() else "saved",
        }
        status = shown.notice.status if shown.notice else HTTPStatus.OK
        return render(request, self.template, context, status=status)


class Shown(NamedTuple):
    """What the page is about in this answer."""

    form: UnitForm
    saved: Rollout | None = None
    notice: Notice | None = None
    impact: dict[str, Any] | None = None
    seen_unit: str = ""

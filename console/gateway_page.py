"""Per-user outbound gateways of one unit: the card that two pages show by one form."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, NamedTuple

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import OrgUnit
from accounts.requests import actor_of
from console.access import AdminRequest, read_rights_again
from console.forms import GatewayForm
from console.impact import Impact
from console.impact_loading import load_impact
from console.impact_page import shown_impact
from console.kept_form import kept_form, notice_of_lost, unknown_unit
from console.other_settings import other_settings
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
from console.unit_parts import SaveTitle, just_saved, live_part, unit_parts
from console.unit_setting import GATEWAY, UnitSetting, load_unit_setting
from policies.models import PolicyChange
from policies.services import MovedUnitError, StalePolicyError, UnitGoneError, change_policy


@dataclass(frozen=True)
class MailPage:
    """One of the two pages. `section` is what its path calls the page above it."""

    view_name: str
    section: str | Promise
    title: str | Promise

    do_not_call_in_templates: ClassVar[bool] = True

    def __call__(self, request: AdminRequest, unit: OrgUnit) -> HttpResponse:
        return gateway_page(request, self, unit)

    def lost(
        self, request: AdminRequest, unit_id: int, notice: Notice | None = None
    ) -> HttpResponse:
        """The answer to a form of a unit that is gone, or no longer administered."""
        form = GatewayForm(load_unit_setting(unknown_unit()))
        notice = notice or notice_of_lost(request, unit_id)
        return kept_form(request, form, notice, self.title, _("What you chose is kept."))


ADVANCED = MailPage(
    "console:mail_advanced", gettext_lazy("Mail"), gettext_lazy("Advanced settings")
)
ACCESS = MailPage(
    "console:mail_access", gettext_lazy("Mail settings"), gettext_lazy("End user access")
)


# Of the form while something is unsaved.
STATES = ("on", "off", "inherit")


class Shown(NamedTuple):
    """What the page is about in this answer."""

    mail_page: MailPage
    setting: UnitSetting
    form: GatewayForm
    saved: Rollout | None = None
    notice: Notice | None = None
    impact: Impact | None = None
    seen_unit: str = ""


def gateway_page(request: AdminRequest, page: MailPage, unit: OrgUnit) -> HttpResponse:
    if request.method == "POST":
        return _save(request, page, unit)
    saved = just_saved(request, unit, GATEWAY)
    if request.htmx:
        return live_part(request, page.view_name, unit, saved)
    setting = load_unit_setting(unit)
    return _answer(request, Shown(page, setting, GatewayForm(setting), saved))


def _save(request: AdminRequest, page: MailPage, unit: OrgUnit) -> HttpResponse:
    setting = load_unit_setting(unit)
    form = GatewayForm(setting, request.POST)
    if "see" in request.POST:
        return _see(request, page, setting, form)
    if is_elsewhere(request, unit):
        return _moved(request, page, unit)
    if not form.is_valid():
        return _answer(request, Shown(page, setting, form))
    try:
        return _store(request, page, setting, form)
    except StalePolicyError as error:
        if error.newest is None:
            raise  # the form answers for that: it takes no version that was never saved
        if _is_own_save(request, error.newest, form):
            return _saved(page, unit, error.newest)
        return _answer(request, _stale(request, page, unit, error.newest))
    except ValidationError as refusal:
        form.add_error("starts_at", refusal)
        return _answer(request, Shown(page, setting, form))


def _store(
    request: AdminRequest, page: MailPage, setting: UnitSetting, form: GatewayForm
) -> HttpResponse:
    """What is left of the unit, and of the right to it, shows once its row is locked."""
    unit = setting.unit
    try:
        change = change_policy(
            actor=actor_of(request),
            unit=unit,
            setting=GATEWAY,
            value=form.value(),
            based_on=form.cleaned_data["based_on"],
            reason=form.cleaned_data["reason"],
            starts_at=form.cleaned_data["starts_at"],
            seen_path=seen_path(request, unit.pk),
        )
    except MovedUnitError as error:
        return _moved(request, page, error.unit)
    except PermissionDenied:
        return page.lost(request, unit.pk, not_permitted(unit.name))
    except UnitGoneError:
        return page.lost(request, unit.pk, gone(unit.name))
    if change is None:
        return _answer(request, Shown(page, setting, form, notice=nothing_changed(unit)))
    return _saved(page, unit, change)


def _see(
    request: AdminRequest, page: MailPage, setting: UnitSetting, form: GatewayForm
) -> HttpResponse:
    """The form as typed, with what saving it would change; nothing is saved."""
    impact = load_impact(setting, form.value()) if form.is_valid() else None
    if not request.htmx:
        return _answer(request, Shown(page, setting, form, impact=impact))
    context = {
        "form": form,
        "impact_asked": True,
        "state": form.state(),
        "url": reverse(page.view_name, args=[setting.unit.pk]),
        **(shown_impact(impact) if impact else {}),
    }
    return render(request, "console/gateway.html#impact", context)


def _is_own_save(request: AdminRequest, newest: PolicyChange, form: GatewayForm) -> bool:
    """Whether the form was only sent twice."""
    return newest.actor_id == request.user.pk and newest.new == form.value()


def _saved(page: MailPage, unit: OrgUnit, change: PolicyChange) -> HttpResponse:
    return redirect(f"{reverse(page.view_name, args=[unit.pk])}?saved={change.pk}")


def _stale(request: AdminRequest, page: MailPage, unit: OrgUnit, newest: PolicyChange) -> Shown:
    """The choice as typed, now based on the change that the notice tells of."""
    setting = load_unit_setting(unit)
    data = request.POST.copy()
    data["based_on"] = str(newest.version)
    return Shown(page, setting, GatewayForm(setting, data), notice=changed_by_other(unit, newest))


def _moved(request: AdminRequest, page: MailPage, unit: OrgUnit) -> HttpResponse:
    """The choice as typed, now for the unit where it stands."""
    read_rights_again(request)
    setting = load_unit_setting(unit)
    shown = Shown(
        page,
        setting,
        GatewayForm(setting, request.POST),
        notice=moved(unit, GATEWAY),
        seen_unit=sign_unit(request.user, unit),
    )
    return _answer(request, shown)


def _answer(request: AdminRequest, shown: Shown) -> HttpResponse:
    page, setting, form, _saved, notice, impact, seen = shown
    unit = setting.unit
    other = ACCESS if page is ADVANCED else ADVANCED
    context = {
        **shown._asdict(),
        **unit_parts(request, page.view_name, unit, GATEWAY),
        **(shown_impact(impact) if impact else {}),
        "seen_unit": seen or seen_field(request, unit),
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (page.section, reverse("console:mail")),
            (page.title, ""),
        ],
        "other": other,
        "other_url": reverse(other.view_name, args=[unit.pk]),
        "inherited_from": setting.inherited.unit,
        "other_settings": other_settings(unit),
        "state": form.state(),
        "unsaved": " ".join(STATES),
        "save_titles": _save_titles(shown),
    }
    return render(
        request, "console/gateway.html", context, status=notice.status if notice else HTTPStatus.OK
    )


def _save_titles(shown: Shown) -> list[SaveTitle]:
    setting = shown.setting
    now = f"{setting.unit.name}: {setting.value_text}"
    inherit = _("Inherit (%(value)s)") % {"value": setting.inherited_text}
    words = dict(zip(STATES, (_("On"), _("Off"), inherit), strict=True))
    titles = [
        SaveTitle(state, now, text) for state, text in words.items() if state != setting.state
    ]
    return titles if shown.saved else [SaveTitle("saved", now), *titles]

"""Why a save of a unit's setting did not go through, in words."""

from http import HTTPStatus
from typing import NamedTuple

from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.models.directory import path_names
from accounts.templatetags.clock import clock_time
from console.rollout import load_rollout
from policies.models import PolicyChange, Setting
from policies.services import inherited_guardrails, inherited_value
from policies.words import value_in_words


class Notice(NamedTuple):
    """Why a save did not go through; `bar` is the same in the save bar, where there is one."""

    kind: str
    title: str
    text: str
    status: int
    bar: str = ""
    action_url: str = ""
    action_text: str = ""

    @property
    def is_final(self) -> bool:
        """Whether saving the same once more is of no use."""
        return self.status != HTTPStatus.CONFLICT


def changed_by_other(unit: OrgUnit, newest: PolicyChange) -> Notice:
    names = {"person": load_rollout(newest).author_name, "unit": unit.name}
    since = {
        "value": value_in_words(newest.setting, newest.new) if newest.new is not None else "",
        "time": clock_time(newest.created_at),
        "change": newest.pk,
    }
    what = (
        _("It is %(value)s since %(time)s (change %(change)d).")
        if newest.new is not None
        else _("It inherits its value since %(time)s (change %(change)d).")
    )
    kept = _(
        "Your choice is kept below; nothing was overwritten. Save again to set it all the same."
    )
    return Notice(
        kind="neutral",
        title=_("%(person)s changed %(unit)s while you were here") % names,
        text=f"{what % since} {kept}",
        bar=_("Not saved: %(person)s changed %(unit)s while you were here") % names,
        status=HTTPStatus.CONFLICT,
        action_url=reverse("console:rollout", args=[newest.pk]),
        action_text=_("Review"),
    )


def moved(unit: OrgUnit, setting: str) -> Notice:
    names = {"unit": unit.name}
    where = _("It now stands at %(way)s.") % {"way": path_names(unit)}
    kept = _("Nothing was saved. Save again to set it all the same.")
    return Notice(
        kind="neutral",
        title=_("%(unit)s was moved while you were here") % names,
        text=f"{where} {_inherited(unit, setting)} {kept}",
        bar=_("Not saved: %(unit)s was moved while you were here") % names,
        status=HTTPStatus.CONFLICT,
    )


def _inherited(unit: OrgUnit, setting: str) -> str:
    if setting == Setting.GATEWAY_GUARDRAILS:
        guardrails = inherited_guardrails(unit)
        value = {
            key: parts for key, parts in guardrails.as_value().items() if key in guardrails.deciders
        }
        return _("What it inherits there: %(value)s.") % {"value": value_in_words(setting, value)}
    inherited = inherited_value(unit, setting)
    told = {"value": value_in_words(setting, inherited.value)}
    if inherited.unit is None:
        return _("No unit above sets the value there, so by default: %(value)s.") % told
    return _("What it inherits there, from %(unit)s: %(value)s.") % {
        "unit": inherited.unit.name,
        **told,
    }


def not_permitted(name: str) -> Notice:
    return _final(
        _("You no longer administer %(unit)s") % {"unit": name},
        _("Nothing was saved. A super administrator can save it, or give you the right back."),
        HTTPStatus.FORBIDDEN,
    )


def gone(name: str) -> Notice:
    return _final(
        _("%(unit)s no longer exists") % {"unit": name},
        _(
            "The unit was deleted while you were here. Nothing was saved. A super administrator "
            "can tell where its accounts are now."
        ),
        HTTPStatus.NOT_FOUND,
    )


def gone_or_not_permitted() -> Notice:
    """For who may not know which of the two it is."""
    return _final(
        _("This unit no longer exists, or you may not change it any more."),
        _("Nothing was saved. A super administrator can tell."),
        HTTPStatus.NOT_FOUND,
    )


def _final(title: str, text: str, status: HTTPStatus) -> Notice:
    return Notice(
        kind="bad",
        title=title,
        text=text,
        status=status,
        action_url=reverse("home"),
        action_text=_("Go to the first page"),
    )


def nothing_changed(unit: OrgUnit) -> Notice:
    title = _("Nothing to save: %(unit)s is already so") % {"unit": unit.name}
    return Notice(
        kind="neutral",
        title=title,
        text=_("No change was recorded, and nothing rolls out."),
        bar=title,
        status=HTTPStatus.OK,
    )

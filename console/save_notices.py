"""Why a save of a unit's setting did not go through, in words."""

from http import HTTPStatus
from typing import NamedTuple

from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from accounts.templatetags.clock import clock_time
from console.rollout import load_rollout
from policies.models import PolicyChange
from policies.words import value_in_words


class Notice(NamedTuple):
    """Why a save did not go through; `bar` is the same in the save bar, in a few words."""

    kind: str
    title: str
    text: str
    bar: str
    status: int
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


def not_permitted(unit: OrgUnit) -> Notice:
    return Notice(
        kind="bad",
        title=_("You no longer administer %(unit)s") % {"unit": unit.name},
        text=_(
            "Nothing was saved. Your choice is kept below. A super administrator can save it, "
            "or give you the right back."
        ),
        bar=_("Not saved: you no longer administer %(unit)s") % {"unit": unit.name},
        status=HTTPStatus.FORBIDDEN,
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

"""The form of what happens when an address's own server does not work."""

from typing import Any, NamedTuple

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit
from accounts.services.audit import Actor
from console.inheritable_form import InheritableForm
from policies.models import DEFAULTS, GatewayFailure, PolicyChange, Setting
from policies.services import change_policy


class Consequence(NamedTuple):
    """What a choice means for whoever writes, and for whoever is written to."""

    writer: str | Promise
    recipients: str | Promise


CONSEQUENCES = {
    GatewayFailure.REFUSE: Consequence(
        _("Mail programs hear at once why it was refused, and keep the message to send it again."),
        _("They get nothing until it was sent again, then from the own server, as ever."),
    ),
    GatewayFailure.HOLD: Consequence(
        _(
            "Mail programs take it for sent. It waits here, encrypted, and is tried again; its "
            "author sees it in the outbox, and hears of it if it never leaves. After a refused "
            "password it waits for a new one."
        ),
        _("They get it later, from the own server, as ever."),
    ),
    GatewayFailure.OUR_SERVERS: Consequence(
        _(
            "Mail programs notice nothing. The message leaves at once by our servers, so not by "
            "the own server alone any more."
        ),
        _(
            "They may see “on behalf of” the primary address, and mail may be refused where the "
            "address’s domain names other servers."
        ),
    ),
}


class FailureForm(InheritableForm):
    """One of three."""

    SETTING = Setting.GATEWAY_FAILURE

    on_failure = forms.ChoiceField(
        label=SETTING.label,
        choices=GatewayFailure.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose one of the three.")},
    )

    def initial_of(self, value: dict[str, Any]) -> dict[str, Any]:
        return {"on_failure": value["choice"]}

    def clean(self) -> None:
        """Beside Inherit nothing is asked; the page without a script sends it all the same."""
        if not self.inherits:
            return
        self.errors.pop("on_failure", None)
        typed = "on_failure" in self.data and "on_failure" in self.changed_data
        if typed and "choice" not in self.changed_data:
            self.add_error(
                "choice",
                _(
                    "Inherit is chosen, so what you chose has no effect. Choose Override to set "
                    "it here."
                ),
            )

    def value(self) -> dict[str, Any] | None:
        """What to save: None for inherit, and for a root that stays at the default unsaved."""
        if self.inherits:
            return None
        value = {"choice": self.cleaned_data["on_failure"]}
        untouched = "choice" not in self.fields and self.own is None
        return None if untouched and value == DEFAULTS[self.SETTING] else value

    def save(self, *, actor: Actor, unit: OrgUnit, seen_path: str | None) -> PolicyChange | None:
        return change_policy(
            actor=actor,
            unit=unit,
            setting=self.SETTING,
            value=self.value(),
            based_on=self.cleaned_data["based_on"],
            reason=self.cleaned_data["reason"],
            starts_at=self.cleaned_data["starts_at"],
            seen_path=seen_path,
        )

    def is_saved_as(self, change: PolicyChange) -> bool:
        return bool(change.new == self.value())

    def context(self) -> dict[str, Any]:
        radios = zip(self["on_failure"], GatewayFailure, strict=True)
        return {
            **super().context(),
            "radios": [(radio, CONSEQUENCES[choice]) for radio, choice in radios],
        }

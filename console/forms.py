from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from console.unit_setting import GATEWAY, UnitSetting, state_of
from policies.models import DEFAULTS, PolicyChange

INHERIT, OVERRIDE = "inherit", "override"


class GatewayForm(forms.Form):
    """Inherit or Override, the checkbox, why, and the version that the administrator saw."""

    choice = forms.ChoiceField(
        label=_("Where the value comes from"),
        choices=[(INHERIT, _("Inherit")), (OVERRIDE, _("Override"))],
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose Inherit or Override, then save again.")},
    )
    allowed = forms.BooleanField(label=_("Allow per-user outbound gateways"), required=False)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=PolicyChange._meta.get_field("reason").max_length,
        required=False,
    )
    based_on = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, setting: UnitSetting, data: QueryDict | None = None) -> None:
        self.setting = setting
        initial = {
            "choice": INHERIT if setting.own is None else OVERRIDE,
            "allowed": setting.allowed,
            "based_on": setting.version,
        }
        super().__init__(data, initial=initial)
        if setting.is_root:
            del self.fields["choice"]

    def clean(self) -> None:
        """Without the page's script, the checkbox can be ticked beside Inherit."""
        if self.cleaned_data.get("choice") != INHERIT or "allowed" not in self.changed_data:
            return
        if self.cleaned_data["allowed"] and not self.setting.inherited.allowed:
            self.add_error(
                "choice",
                _(
                    "Inherit is chosen, so the tick has no effect. Choose Override to allow it "
                    "here, or clear the tick."
                ),
            )

    def clean_based_on(self) -> int:
        """Without a version that the page can have shown, 0: any saved change is then news."""
        text: str = self.cleaned_data["based_on"]
        version = int(text) if text.isdecimal() and len(text) < 10 else 0
        return version if version <= self.setting.version else 0

    def value(self) -> dict[str, Any] | None:
        """What to save: None for inherit, and for a root that stays at the default unsaved."""
        value = {"allowed": self.cleaned_data["allowed"]}
        if self.setting.is_root:
            untouched = self.setting.own is None and value == DEFAULTS[GATEWAY]
            return None if untouched else value
        return None if self.cleaned_data["choice"] == INHERIT else value

    def state(self) -> str:
        """The choice as it stands in the form: "saved" where it is what is saved."""
        inherits = not self.setting.is_root and self["choice"].value() == INHERIT
        chosen = state_of(None if inherits else {"allowed": bool(self["allowed"].value())})
        return "saved" if chosen == self.setting.state else chosen

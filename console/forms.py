from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.services.people import clean_address, clean_name
from console.unit_setting import GATEWAY, UnitSetting, state_of
from policies.models import DEFAULTS, PolicyChange

INHERIT, OVERRIDE = "inherit", "override"


def reason_field() -> forms.CharField:
    return forms.CharField(
        label=_("Reason"),
        max_length=PolicyChange._meta.get_field("reason").max_length,
        required=False,
    )


def start_field(**options: Any) -> forms.DateTimeField:
    """A moment in the installation's time zone, as a browser's own field writes it."""
    return forms.DateTimeField(
        widget=forms.DateTimeInput(
            format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local", "step": "60"}
        ),
        error_messages={
            "invalid": _("Write a date and a time, like 2027-01-31 18:00, then save again.")
        },
        **options,
    )


class ActionForm(forms.Form):
    """Why, and the state that the administrator saw, as the number of actions before."""

    reason = reason_field()
    based_on = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput, required=False
    )

    def clean_based_on(self) -> int:
        """A page without it has seen nothing."""
        return int(self.cleaned_data["based_on"] or 0)


class ReasonForm(forms.Form):
    reason = reason_field()


class UnitNameForm(forms.Form):
    # Without a length of its own: the service knows it, and says so.
    name = forms.CharField(
        label=_("Name"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Give the unit a name.")},
    )


class UnitMoveForm(ReasonForm):
    """Why, and the unit below which it is to stand."""

    to = forms.IntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)


class AccountForm(forms.Form):
    """Why, and the unit in which the page showed the account."""

    reason = reason_field()
    unit_id = forms.IntegerField(
        min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput, required=False
    )

    def clean_unit_id(self) -> int:
        return int(self.cleaned_data["unit_id"] or 0)


class MoveForm(AccountForm):
    """The same, and the unit that it is to go to."""

    to = forms.IntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)


class AccountNameForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Give the account a name.")},
    )

    def clean_name(self) -> str:
        return clean_name(self.cleaned_data["name"])


class RenameForm(AccountNameForm):
    """The same, and the name that the page showed."""

    seen_name = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)


class AliasForm(forms.Form):
    address = forms.CharField(
        label=_("Alias"),
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Type the further address that the account is to have.")},
    )

    def clean_address(self) -> str:
        return clean_address(self.cleaned_data["address"])


class NewAccountForm(AccountNameForm):
    """Address and name of a new account, and its unit."""

    primary_address = forms.CharField(
        label=_("Primary address"),
        widget=forms.EmailInput(attrs={"autocomplete": "off", "data-due": True}),
        error_messages={"required": _("Type the address that the account is to have.")},
    )
    to = forms.IntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    field_order = ["primary_address", "name"]

    def clean_primary_address(self) -> str:
        return clean_address(self.cleaned_data["primary_address"])


class TimeForm(ActionForm):
    starts_at = start_field(label=_("Start at"))

    field_order = ["starts_at", "reason"]


class GatewayForm(forms.Form):
    """Inherit or Override, the checkbox, when, why, and the version that the administrator saw."""

    choice = forms.ChoiceField(
        label=_("Where the value comes from"),
        choices=[(INHERIT, _("Inherit")), (OVERRIDE, _("Override"))],
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose Inherit or Override, then save again.")},
    )
    allowed = forms.BooleanField(label=_("Allow per-user outbound gateways"), required=False)
    starts_at = start_field(
        label=_("Schedule for"),
        required=False,
        help_text=_("Left empty, it starts when it is saved."),
    )
    reason = reason_field()
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
        unsaved = chosen != self.setting.state or self["starts_at"].value()
        return chosen if unsaved else "saved"

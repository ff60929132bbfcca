"""The form of a setting that a unit has of its own, or inherits as a whole."""

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit
from console.forms import INHERIT, OVERRIDE, reason_field, start_field
from console.version_field import VersionField
from policies.models import GatewayPolicy
from policies.services import inherited_value
from policies.words import value_in_words


class InheritableForm(forms.Form):
    """Inherit or Override; when, why, and the version that the administrator saw.

    `own` is what the unit has of its own, `shown` what it has either way.
    """

    SETTING: ClassVar[str]

    choice = forms.ChoiceField(
        label=_("Where the value comes from"),
        choices=[(INHERIT, _("Inherit")), (OVERRIDE, _("Override"))],
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose Inherit or Override, then save again.")},
    )
    starts_at = start_field(
        label=_("Schedule for"),
        required=False,
        help_text=_("Left empty, it starts when it is saved."),
    )
    reason = reason_field()
    based_on = VersionField()

    use_required_attribute = False

    def __init__(self, unit: OrgUnit, data: QueryDict | None = None) -> None:
        saved = GatewayPolicy.objects.filter(unit=unit, setting=self.SETTING).first()
        self.own: dict[str, Any] | None = saved.value if saved else None
        self.inherited = inherited_value(unit, self.SETTING)
        self.shown = self.inherited.value if self.own is None else self.own
        version = saved.version if saved else 0
        initial = {
            "choice": INHERIT if self.own is None else OVERRIDE,
            "based_on": version,
            **self.initial_of(self.shown),
        }
        super().__init__(data, initial=initial)
        self.fields["based_on"].newest = version  # type: ignore[attr-defined]
        if unit.is_root():
            del self.fields["choice"]

    def initial_of(self, value: dict[str, Any]) -> dict[str, Any]:
        """The value as the form's fields hold it."""
        raise NotImplementedError

    @property
    def inherits(self) -> bool:
        return "choice" in self.fields and self.cleaned_data.get("choice") != OVERRIDE

    def refuse(self, refusal: Exception) -> None:
        """Of what change_policy refuses only the time was typed here."""
        if isinstance(refusal, ValidationError):
            self.add_error(None if hasattr(refusal, "error_dict") else "starts_at", refusal)

    def is_unsaved(self) -> bool:
        return self.is_bound and bool(set(self.changed_data) - {"reason", "based_on"})

    def context(self) -> dict[str, Any]:
        unit = self.inherited.unit
        return {
            "is_own": self.own is not None,
            "inherited_from": unit.name if unit else "",
            "inherited_text": value_in_words(self.SETTING, self.inherited.value),
            "choice": self["choice"] if "choice" in self.fields else None,
        }

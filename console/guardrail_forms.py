"""The form of a unit's guardrails: each is inherited or overridden by itself."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit
from accounts.services.audit import Actor
from console.forms import INHERIT, OVERRIDE, reason_field, start_field
from console.version_field import VersionField
from policies.guardrails import (
    MOST_ADDRESSES,
    MOST_RECIPIENTS,
    TLS_VERSIONS,
    Guardrail,
    Guardrails,
    clean_patterns,
)
from policies.models import GatewayPolicy, PolicyChange, Setting
from policies.services import change_policy, inherited_guardrails

ON_EACH_LINE = _("One on each line.")


class PatternsField(forms.CharField):
    """Names and wildcards, one on each line."""

    def __init__(self, *, literals: bool = False, **options: Any) -> None:
        widget = forms.Textarea(
            attrs={"rows": 3, "spellcheck": "false", "autocapitalize": "none", "class": "mono"}
        )
        super().__init__(required=False, widget=widget, help_text=ON_EACH_LINE, **options)
        self.literals = literals

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return clean_patterns((value or "").splitlines(), literals=self.literals)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (data or "").split() != list(initial or [])


@dataclass(frozen=True)
class UnitGuardrails:
    """`own` holds what the unit overrides; `version` is its newest saved one, 0 without any."""

    unit: OrgUnit
    own: dict[str, Any]
    version: int
    inherited: Guardrails

    @property
    def is_root(self) -> bool:
        return bool(self.unit.is_root())


def load_unit_guardrails(unit: OrgUnit) -> UnitGuardrails:
    rows = GatewayPolicy.objects.filter(unit=unit, setting=Setting.GATEWAY_GUARDRAILS)
    saved = rows.first()
    own = (saved.value or {}) if saved else {}
    return UnitGuardrails(unit, own, saved.version if saved else 0, inherited_guardrails(unit))


# The parts of each guardrail; a field's name is the guardrail's and the part's.
FIELDS: dict[Guardrail, dict[str, forms.Field]] = {
    Guardrail.SERVERS: {
        "allowed": PatternsField(label=_("Only these servers"), literals=True),
        "denied": PatternsField(label=_("Never these servers"), literals=True),
    },
    Guardrail.DOMAINS: {
        "allowed": PatternsField(label=_("Only addresses at these domains")),
        "denied": PatternsField(label=_("Never addresses at these domains")),
    },
    Guardrail.CONNECTION: {
        "ports": forms.TypedMultipleChoiceField(
            label=_("Ports"),
            coerce=int,
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text=_("None ticked: every one of them."),
        ),
        "least_tls": forms.ChoiceField(
            label=_("Least TLS version"),
            choices=[(version, f"TLS {version}") for version in TLS_VERSIONS],
        ),
        "tls_from_start": forms.BooleanField(
            label=_("TLS from the start only"),
            required=False,
            help_text=_("No STARTTLS, which begins in the clear."),
        ),
    },
    Guardrail.ADDRESSES: {
        "most": forms.IntegerField(
            label=_("Outside addresses"), min_value=0, max_value=MOST_ADDRESSES
        ),
    },
    Guardrail.RECIPIENTS: {
        "per_hour": forms.IntegerField(
            label=_("Recipients an hour"), min_value=1, max_value=MOST_RECIPIENTS, required=False
        ),
        "per_day": forms.IntegerField(
            label=_("Recipients a day"), min_value=1, max_value=MOST_RECIPIENTS, required=False
        ),
    },
    Guardrail.APPROVAL: {
        "needed": forms.BooleanField(
            label=_("A new server is used only once an administrator approved it"), required=False
        ),
    },
}


def name_of(guardrail: Guardrail, part: str) -> str:
    return f"{guardrail}_{part}"


class GuardrailsForm(forms.Form):
    """Inherit or Override for each guardrail and its parts; when, why, and the version seen."""

    starts_at = start_field(
        label=_("Schedule for"),
        required=False,
        help_text=_("Left empty, it starts when it is saved."),
    )
    reason = reason_field()
    based_on = VersionField()

    use_required_attribute = False

    def __init__(self, unit: OrgUnit, data: QueryDict | None = None) -> None:
        self.kept = kept = load_unit_guardrails(unit)
        super().__init__(data, initial={"based_on": kept.version})
        self.fields["based_on"].newest = kept.version  # type: ignore[attr-defined]
        self.defaults = kept.inherited.as_value()
        for guardrail, parts in FIELDS.items():
            values = kept.own.get(guardrail, self.defaults[guardrail])
            if not kept.is_root:
                self.fields[choice_of(guardrail)] = _choice_field(guardrail)
                self.initial[choice_of(guardrail)] = OVERRIDE if guardrail in kept.own else INHERIT
            for part, field in parts.items():
                # A form of its own: a bound one writes into its fields.
                self.fields[name_of(guardrail, part)] = deepcopy(field)
                self.initial[name_of(guardrail, part)] = values[part]
        ports = sorted(settings.OUTGATE_EGRESS_PORTS | set(self.initial["connection_ports"]))
        self.fields["connection_ports"].choices = [(port, str(port)) for port in ports]  # type: ignore[attr-defined]

    def clean(self) -> None:
        """What is typed beside Inherit has no effect, and without a script the page takes it."""
        for guardrail in FIELDS:
            if not self._is_overridden(guardrail):
                self._forget_or_refuse(guardrail)

    def _is_overridden(self, guardrail: Guardrail) -> bool:
        return self.kept.is_root or self.cleaned_data.get(choice_of(guardrail)) == OVERRIDE

    def _forget_or_refuse(self, guardrail: Guardrail) -> None:
        names = [name_of(guardrail, part) for part in FIELDS[guardrail]]
        typed = [name for name in names if name in self.data and name in self.changed_data]
        for name in names:
            self.errors.pop(name, None)
        if typed and choice_of(guardrail) not in self.changed_data:
            self.add_error(
                choice_of(guardrail),
                _(
                    "Inherit is chosen, so what you typed has no effect. Choose Override to set "
                    "it here."
                ),
            )

    def value(self) -> dict[str, Any] | None:
        """What to save: what is overridden; at the topmost unit what is not the default."""
        value = {
            str(guardrail): {
                part: self.cleaned_data[name_of(guardrail, part)] for part in FIELDS[guardrail]
            }
            for guardrail in FIELDS
            if self._is_overridden(guardrail)
        }
        if self.kept.is_root:
            value = {key: parts for key, parts in value.items() if parts != self.defaults[key]}
        return value or None

    def save(self, *, actor: Actor, unit: OrgUnit, seen_path: str | None) -> PolicyChange | None:
        return change_policy(
            actor=actor,
            unit=unit,
            setting=Setting.GATEWAY_GUARDRAILS,
            value=self.value(),
            based_on=self.cleaned_data["based_on"],
            reason=self.cleaned_data["reason"],
            starts_at=self.cleaned_data["starts_at"],
            seen_path=seen_path,
        )

    def refuse(self, refusal: Exception) -> None:
        """Of what change_policy refuses only the time was typed here."""
        if isinstance(refusal, ValidationError):
            self.add_error("starts_at", refusal)

    def is_saved_as(self, change: PolicyChange) -> bool:
        return bool(change.new == self.value())

    def is_unsaved(self) -> bool:
        return self.is_bound and bool(set(self.changed_data) - {"reason", "based_on"})


def choice_of(guardrail: Guardrail) -> str:
    return name_of(guardrail, "choice")


def _choice_field(guardrail: Guardrail) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=guardrail.label,
        choices=[(INHERIT, _("Inherit")), (OVERRIDE, _("Override"))],
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose Inherit or Override, then save again.")},
    )

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit, Privilege, RoleAssignment, User
from console.unit_names import unit_called

Role = RoleAssignment.Role
EXPLAINED = [
    (
        Privilege.MAIL_SETTINGS,
        _("Mail settings: who may use own servers, and its rollout"),
    ),
    (Privilege.USERS, _("Users: accounts, their addresses, suspending and moving them")),
    (Privilege.REPORTS, _("Reports: who changed what")),
]


class RoleForm(forms.Form):
    """Who gets which role, and for an administrator of a unit: where, and what for."""

    address = forms.CharField(
        label=_("Account"),
        max_length=254,
        help_text=_("Its primary address."),
        error_messages={"required": _("Type the primary address of the account.")},
    )
    role = forms.ChoiceField(
        label=_("Role"),
        choices=Role.choices,
        initial=Role.UNIT_ADMIN,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose one of the roles.")},
    )
    unit = forms.CharField(
        label=_("Unit"),
        max_length=1000,
        required=False,
        help_text=_(
            "Its name. Where several have that name, with those above it: yourdomain.com › Sales."
        ),
    )
    privileges = forms.MultipleChoiceField(
        label=_("Privileges in that unit and below"),
        choices=EXPLAINED,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def clean_address(self) -> User:
        text = self.cleaned_data["address"].strip().lower()
        user = User.objects.filter(primary_address=text).first()
        if user is None:
            raise ValidationError(
                _("No account has the primary address %(address)s."), params={"address": text}
            )
        return user

    def clean_unit(self) -> OrgUnit | None:
        text = self.cleaned_data["unit"].strip()
        return unit_called(text, OrgUnit.objects.all()) if text else None

    def clean(self) -> None:
        if self.cleaned_data.get("role") != Role.UNIT_ADMIN:
            return
        if "unit" in self.cleaned_data and self.cleaned_data["unit"] is None:
            self.add_error("unit", _("Name the unit that this administrator is for."))
        if not self.cleaned_data.get("privileges") and "privileges" not in self.errors:
            self.add_error("privileges", _("Choose at least one privilege."))

    def chosen(self) -> dict[str, Any]:
        """What assign_role takes; unit and privileges only where the role has them."""
        data = self.cleaned_data
        bounded = data["role"] == Role.UNIT_ADMIN
        return {
            "user": data["address"],
            "role": data["role"],
            "unit": data["unit"] if bounded else None,
            "privileges": data["privileges"] if bounded else (),
        }


class PrivilegesForm(forms.Form):
    privileges = forms.MultipleChoiceField(
        label=_("Privileges in that unit and below"),
        choices=EXPLAINED,
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": _("Choose at least one privilege, or take the role away instead.")
        },
    )

    def __init__(self, assignment: RoleAssignment, data: QueryDict | None = None) -> None:
        super().__init__(data, initial={"privileges": assignment.privileges})

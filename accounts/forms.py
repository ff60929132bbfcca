from typing import Any

from allauth.account import forms as allauth_forms
from django import forms
from django.utils.translation import gettext_lazy as _


class AppPasswordForm(forms.Form):
    name = forms.CharField(
        label=_("Mail program"),
        max_length=100,
        help_text=_(
            "Any name that tells you later which one it is, such as “Thunderbird, laptop”."
        ),
        error_messages={"required": _("Give it a name, so that you can tell it from the others.")},
    )


class _LabelledOnly(forms.Form):
    """Allauth repeats each label inside its field, where it is in the way of what is typed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class SignInForm(_LabelledOnly, allauth_forms.LoginForm):  # type: ignore[misc]  # has no types
    pass


class ChangePasswordForm(_LabelledOnly, allauth_forms.ChangePasswordForm):  # type: ignore[misc]
    pass


class ResetPasswordForm(_LabelledOnly, allauth_forms.ResetPasswordForm):  # type: ignore[misc]
    pass


class NewPasswordForm(_LabelledOnly, allauth_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    pass


class PasswordAgainForm(_LabelledOnly, allauth_forms.ReauthenticateForm):  # type: ignore[misc]
    pass

from typing import Any

from allauth.account import forms as allauth_forms
from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models.help_answers import COMMENT_LENGTH


class AppPasswordForm(forms.Form):
    name = forms.CharField(
        label=_("Mail program"),
        max_length=100,
        help_text=_(
            "Any name that tells you later which one it is, such as “Thunderbird, laptop”."
        ),
        error_messages={"required": _("Give it a name, so that you can tell it from the others.")},
    )


class HelpAnswerForm(forms.Form):
    helpful = forms.TypedChoiceField(
        label=_("Was this helpful?"),
        choices=[("yes", _("Yes")), ("no", _("No"))],
        coerce=lambda choice: choice == "yes",
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose Yes or No.")},
    )
    comment = forms.CharField(
        label=_("What was missing, or wrong?"),
        max_length=COMMENT_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Support reads it. Write no passwords."),
    )

    use_required_attribute = False


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

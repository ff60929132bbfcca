from typing import Any, ClassVar

from allauth.account import forms as allauth_forms
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.totp import forms as totp_forms
from django import forms
from django.core.cache import cache
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
    """Allauth repeats each label inside its field, where it is in the way of what is typed.

    `labels` replace its own, also before an error at the head of the page.
    """

    labels: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
            if isinstance(field, forms.EmailField):
                field.error_messages["invalid"] = _(
                    "Type the whole address, as in name@example.com."
                )
        for name, label in self.labels.items():
            self.fields[name].label = label


# Allauth has no types: hence each `ignore` from here on.
class SignInForm(_LabelledOnly, allauth_forms.LoginForm):
    labels: ClassVar = {"login": _("Address")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs["data-due"] = True


class ChangePasswordForm(_LabelledOnly, allauth_forms.ChangePasswordForm):
    labels: ClassVar = {
        "oldpassword": _("Current password"),
        "password1": _("New password"),
        "password2": _("New password again"),
    }


class ResetPasswordForm(_LabelledOnly, allauth_forms.ResetPasswordForm):
    labels: ClassVar = {"email": _("Primary address")}


class NewPasswordForm(_LabelledOnly, allauth_forms.ResetPasswordKeyForm):
    labels: ClassVar = {
        "password1": _("New password"),
        "password2": _("New password again"),
    }


class PasswordAgainForm(_LabelledOnly, allauth_forms.ReauthenticateForm):
    pass


class _CodeField(_LabelledOnly):
    labels: ClassVar = {"code": _("Code")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].error_messages["required"] = _("Type the code that the app shows now.")

    def clean_code(self) -> str:
        """Allauth remembers a used code for one period; with neighbours it holds for three."""
        code: str = super().clean_code()  # type: ignore[misc]
        periods = 2 * app_settings.TOTP_TOLERANCE + 1
        key = f"second_factor_used:{self.user.pk}:{normalize_user_code(code)}"  # type: ignore[attr-defined]
        if not cache.add(key, "y", timeout=periods * app_settings.TOTP_PERIOD):
            raise get_adapter().validation_error("incorrect_code")
        return code


class _DueCodeField(_CodeField):
    """On a page that is there for the code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs["data-due"] = True


class SecondFactorForm(_DueCodeField, mfa_forms.AuthenticateForm):
    pass


class SecondFactorAgainForm(_DueCodeField, mfa_forms.ReauthenticateForm):
    pass


class SetUpSecondFactorForm(_CodeField, totp_forms.ActivateTOTPForm):
    pass

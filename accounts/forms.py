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

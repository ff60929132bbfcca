from typing import ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Accounts are made by administrators: nobody signs up. Refusals say what to do next."""

    error_messages: ClassVar[dict[str, str | Promise]] = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": _(
            "Address and password do not match. Type both again, or set a new password."
        ),
        "too_many_login_attempts": _(
            "Too many tries with a wrong password. Wait five minutes, or set a new password."
        ),
        "incorrect_password": _("That is not your password. Type it again."),
        "enter_current_password": _("Type the password that you use now."),
        "invalid_password_reset": _("This link was used already. Ask for a new one."),
        "rate_limited": _("That was a lot in a short time. Wait a minute, then go on."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

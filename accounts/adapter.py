from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.services.people import keep_first_language


class AccountAdapter(DefaultAccountAdapter):
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

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        keep_first_language(user, get_language())
        response: HttpResponse = super().post_login(request, user, **kwargs)
        return response

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Who asks is not signed in and may be somebody else: the receiver's language counts."""
        with User.objects.get(primary_address=email).reads():
            super().send_mail(template_prefix, email, context)

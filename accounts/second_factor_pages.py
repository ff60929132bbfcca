"""What our pages of the second factor do besides django-allauth's."""

from typing import Any
from urllib.parse import urlencode

from allauth.account.utils import get_next_redirect_url
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView
from django.http import HttpResponse

from accounts.requests import actor_of
from accounts.second_factor import is_demanded_of
from accounts.services.audit import record_event


class SetUpSecondFactor(ActivateTOTPView):  # type: ignore[misc]  # allauth has no types
    """The code that proves the set-up is spent, and counts as the factor's use in this session."""

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        user = self.request.user
        authenticator = Authenticator.objects.get(user=user, type=Authenticator.Type.TOTP)
        post_authentication(self.request, authenticator, reauthenticated=True)
        # What the session may do has grown: it goes on under another key.
        self.request.session.cycle_key()
        actor = actor_of(self.request)
        record_event(actor, "second_factor_set_up", user.primary_address, unit=user.unit)
        return response

    def get_success_url(self) -> str:
        wanted = get_next_redirect_url(self.request)
        url: str = super().get_success_url()
        return f"{url}?{urlencode({'next': wanted})}" if wanted else url

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["demanded"] = is_demanded_of(self.request.user)
        return context


class RecoveryCodes(ViewRecoveryCodesView):  # type: ignore[misc]
    """Who was on the way to somewhere else goes on from here."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["go_on"] = get_next_redirect_url(self.request)
        return context


set_up_second_factor = SetUpSecondFactor.as_view()
recovery_codes = RecoveryCodes.as_view()

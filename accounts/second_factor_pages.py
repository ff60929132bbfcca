"""What our pages of the second factor do besides django-allauth's."""

from typing import Any
from urllib.parse import urlencode

from allauth.account.utils import get_next_redirect_url
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.base.views import ReauthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as recovery_code_views
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from django.db import transaction
from django.http import HttpResponse
from django.views.decorators.cache import never_cache

from accounts.requests import actor_of
from accounts.second_factor import is_demanded_of, using_second_factor
from accounts.services.audit import record_event


# Allauth has no types: hence each `ignore` from here on.
class SetUpSecondFactor(ActivateTOTPView):
    """The code that proves the set-up is spent, and counts as the factor's use in this session."""

    @transaction.atomic
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


class UseSecondFactor(ReauthenticateView):
    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        self.request.session.cycle_key()
        return response


class RemoveSecondFactor(DeactivateTOTPView):
    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        actor, user = actor_of(self.request), self.request.user
        record_event(actor, "second_factor_removed", user.primary_address, unit=user.unit)
        return response


class RecoveryCodes(recovery_code_views.ViewRecoveryCodesView):
    """Who was on the way to somewhere else goes on from here."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["go_on"] = get_next_redirect_url(self.request)
        return context


# What these show is for one pair of eyes, once: no cache keeps it.
set_up_second_factor = never_cache(SetUpSecondFactor.as_view())
use_second_factor = UseSecondFactor.as_view()
remove_second_factor = using_second_factor(RemoveSecondFactor.as_view())
recovery_codes = never_cache(using_second_factor(RecoveryCodes.as_view()))
new_recovery_codes = using_second_factor(recovery_code_views.generate_recovery_codes)
download_recovery_codes = using_second_factor(recovery_code_views.download_recovery_codes)

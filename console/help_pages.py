"""Help for administrators, beside the setting that it is about."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from accounts.help_feedback import take_answer
from accounts.templatetags.clock import duration
from console.access import AdminRequest


def help_gateways(request: AdminRequest) -> HttpResponse:
    answer = take_answer(request)
    if isinstance(answer, HttpResponse):
        return answer
    context = {
        "example": request.user.primary_address,
        "window": duration(timedelta(seconds=settings.OUTGATE_ROLLOUT_WINDOW)),
        "helpful": answer,
        "path": [(_("Help"), ""), (_("Per-user outbound gateways"), "")],
    }
    return render(request, "console/help_gateways.html", context)

"""Help for people who send: one page a subject, linked from each step."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import signed_in
from accounts.help_feedback import take_answer
from accounts.mail_programs import submission_settings
from accounts.requests import SignedInRequest
from policies.models import Setting
from policies.services import applied_value
from smtp.address import split_address

# Each has a template of its name; the words are the link to it.
SUBJECTS = {
    "add-address": (_("Add an address"), _("What you need, step by step, and what can wait.")),
    "routes": (
        _("Which server carries the mail"),
        _("What recipients see on either way, and who decides."),
    ),
    "errors": (
        _("What an error means"),
        _("Every result of the connection test, and what the mail program may say."),
    ),
    "mail-program": (
        _("Set up the mail program"),
        _("Server, port and app password for Thunderbird, Apple Mail, Outlook and K-9."),
    ),
}


@require_safe
@signed_in
def help_index(request: SignedInRequest) -> HttpResponse:
    return render(request, "sendas/help/index.html", {"subjects": SUBJECTS})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def help_page(request: SignedInRequest, subject: str) -> HttpResponse:
    if subject not in SUBJECTS:
        raise Http404
    answer = take_answer(request)
    if isinstance(answer, HttpResponse):
        return answer
    user = request.user
    on_failure = applied_value(user.unit.path, user.cohort, Setting.GATEWAY_FAILURE)
    context = {
        **submission_settings(),
        "subjects": SUBJECTS,
        "subject": subject,
        "heading": SUBJECTS[subject][0],
        "own_domain": split_address(user.primary_address)[1],
        "on_failure": on_failure.value["choice"],
        "helpful": answer,
    }
    return render(request, f"sendas/help/{subject}.html", context)

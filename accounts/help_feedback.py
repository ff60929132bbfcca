""" "Was this helpful?" at the foot of a help page: any page can have it.

The view hands the form to templates/parts/helpful.html as `helpful`.
"""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from accounts.forms import HelpAnswerForm
from accounts.requests import SignedInRequest
from accounts.services.help_answers import record_help_answer


def take_answer(request: SignedInRequest) -> HelpAnswerForm | HttpResponse:
    """The form for the page; after an answer was kept, the redirect back to the page."""
    form = HelpAnswerForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return form
    record_help_answer(
        user=request.user,
        page=request.path,
        helpful=form.cleaned_data["helpful"],
        comment=form.cleaned_data["comment"],
    )
    messages.success(request, _("Your answer is kept. Support reads it and mends this page."))
    return redirect(request.path)

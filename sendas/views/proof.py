"""Proof of ownership: by the code, typed on a page of its own or in the list, or by the link."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.access import signed_in
from accounts.requests import SignedInRequest, actor_of
from sendas.access import listed_address, outside_address, ownership_link
from sendas.forms import CodeForm
from sendas.models import SendAs
from sendas.services.addresses import ListedAddress, may_have_gateway
from sendas.services.proof import confirm_code, confirm_link, send_proof
from sendas.views.parts import form_data, page


@page
@signed_in
def prove(request: SignedInRequest, pk: int) -> HttpResponse:
    """Step 3: the code. The list takes it too, whenever it comes."""
    send_as = outside_address(request, pk)
    listed = listed_address(request, send_as.send_as_email)
    if not listed.wants_proof:
        return redirect("sendas:list")  # a second click, or the link was faster
    if "send_again" in request.POST:
        send_again(request, listed)
        return redirect("sendas:prove", pk)
    form = CodeForm(send_as, form_data(request), is_due=True)
    if takes_code(request, form):
        return confirmed(request, listed.address)
    context = {
        "listed": listed,
        "form": form,
        "with_server": may_have_gateway(request.user, listed.address),
    }
    return render(request, "sendas/prove.html", context)


@page
@signed_in
def confirm(request: SignedInRequest, token: str) -> HttpResponse:
    """Where the link in the mail leads. Opening it confirms nothing: mail scanners open links."""
    proof = ownership_link(request, token)
    if proof is None:
        return render(request, "sendas/confirm.html", status=404)
    if request.method != "POST":
        return render(request, "sendas/confirm.html", {"send_as": proof.send_as})
    try:
        confirm_link(actor=actor_of(request), proof=proof)
    except ValidationError:  # used in the same moment: by code, or by a second click
        return render(request, "sendas/confirm.html", status=404)
    return confirmed(request, proof.send_as.send_as_email)


def takes_code(request: SignedInRequest, form: CodeForm) -> bool:
    """False where it is not the code; the form says why."""
    if not form.is_valid():
        return False
    try:
        confirm_code(actor=actor_of(request), send_as=form.send_as, code=form.cleaned_data["code"])
    except ValidationError as refusal:
        form.add_error("code", refusal)
        return False
    return True


def mail_proof(request: SignedInRequest, send_as: SendAs) -> bool:
    """False where no mail left; the next page says why."""
    try:
        send_proof(send_as)
    except ValidationError as refusal:
        messages.error(request, refusal.messages[0])
        return False
    return True


def send_again(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    if listed.wants_proof and listed.row and mail_proof(request, listed.row):
        messages.success(
            request, _("A new code is on its way to %s; the one before is void.") % listed.address
        )
    return redirect("sendas:list")


def confirmed(request: SignedInRequest, address: str) -> HttpResponse:
    messages.success(request, _("%s is yours and can be chosen as From at once.") % address)
    return redirect("sendas:list")

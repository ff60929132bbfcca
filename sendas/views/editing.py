"""Changing an address and its server; deleting it."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from accounts.access import signed_in
from accounts.late_forms import keeps_typed, unjudged
from accounts.models.directory import in_own_domains
from accounts.requests import SignedInRequest, TypedRequest, actor_of
from policies.guardrails import Guardrails
from sendas.access import listed_address, outside_address, own_address
from sendas.forms import OUR_SERVERS, OWN_SERVER, DetailsForm, ServerForm
from sendas.models import SendAs
from sendas.services.acceptance import judge_address
from sendas.services.addresses import (
    ListedAddress,
    change_details,
    delete_address,
    may_have_gateway,
    remove_gateway,
    set_gateway,
)
from sendas.services.allowance import gateway_allowance
from sendas.services.discovery import Proposal, propose_settings
from sendas.services.domain_questions import ask_for_page
from sendas.services.guardrails import domain_refusal, fit_proposal, guardrail_notes, guardrails_of
from sendas.services.outcomes import ConnectionTestError
from sendas.services.signatures import signature_for_box
from sendas.views.parts import form_data, page, preview
from sendas.views.proof import mail_proof
from sendas.views.stored_password import is_in_doubt, test_stored


@page
@keeps_typed()
def edit_own(request: TypedRequest) -> HttpResponse:
    """The primary address or an own alias, named by `?address=`: it may have no row yet."""
    listed = own_address(request, request.GET.get("address", ""))
    form = DetailsForm(form_data(request), initial=_details_of(listed))
    if request.is_late:
        form = unjudged(form)
    if form.is_valid() and _save_details(request, listed.address, form):
        return _changed(request, listed.address)
    return render(request, "sendas/edit.html", {"form": form, "address": listed.address})


@sensitive_post_parameters("password")
@page
@keeps_typed()
def edit(request: TypedRequest, pk: int) -> HttpResponse:
    """An outside address: its details, and its server where it has or may have one."""
    send_as = outside_address(request, pk)
    address = send_as.send_as_email
    posted, kept = form_data(request), _details_of(listed_address(request, address))
    guardrails = guardrails_of(request.user)
    proposal = fitting = None
    unfit = ""
    form = DetailsForm(posted, initial=kept)
    if request.is_late:
        form = unjudged(form)
    elif "find" in request.POST:
        # Nothing is saved yet: what was typed of the details is what the form begins with.
        form, posted = unjudged(form), None
        if _may_search(send_as, guardrails):
            proposal = propose_settings(user=request.user, address=address)
            ask_for_page(send_as.domain, proposal.host)
            fitting, unfit = fit_proposal(guardrails, address, proposal)
    server_form = _server_form(send_as, posted, guardrails, fitting, unfit)
    if server_form and request.is_late:
        server_form = unjudged(server_form)
    # The server first: where that is refused, nothing is changed.
    if (
        form.is_valid()
        and _save_server(request, send_as, server_form)
        and _save_details(request, address, form)
    ):
        if send_as.is_pending and not send_as.proofs.exists():
            mail_proof(request, send_as)
        return _changed(request, address)
    context = {
        **preview(request, address, send_as.display_name),
        "form": form,
        "server_form": server_form,
        "proposal": proposal,
        "unfit": unfit,
        "domain_refusal": domain_refusal(guardrails, address),
        "acceptance": judge_address(request.user, address, _host_of(send_as, fitting)),
        "notes": guardrail_notes(guardrails) if server_form else [],
        "may_search": _may_search(send_as, guardrails),
        "send_as": send_as,
        "allowed": may_have_gateway(request.user, address),
        "inside": in_own_domains(address),
        "allowance": gateway_allowance(request.user),
    }
    return render(request, "sendas/edit.html", context)


@page
@signed_in
def delete(request: SignedInRequest, pk: int) -> HttpResponse:
    """Ask, then remove the address with its server and password."""
    send_as = outside_address(request, pk)
    if request.method != "POST":
        return render(request, "sendas/delete.html", {"send_as": send_as})
    delete_address(actor=actor_of(request), send_as=send_as)
    messages.info(request, _("%s is deleted.") % send_as.send_as_email)
    return redirect("sendas:list")


def _may_search(send_as: SendAs, guardrails: Guardrails) -> bool:
    """Whether it has no server yet and may have one, and servers are looked for here."""
    return (
        settings.OUTGATE_FIND_SETTINGS
        and not hasattr(send_as, "smtp_msa")
        and _may_get_server(send_as, guardrails)
    )


def _may_get_server(send_as: SendAs, guardrails: Guardrails) -> bool:
    address = send_as.send_as_email
    return may_have_gateway(send_as.user, address) and not domain_refusal(guardrails, address)


def _host_of(send_as: SendAs, proposal: Proposal | None) -> str:
    """The server that the address has, or could have."""
    if hasattr(send_as, "smtp_msa"):
        return send_as.smtp_msa.host
    return proposal.host if proposal else ""


def _server_form(
    send_as: SendAs, posted: Any, guardrails: Guardrails, proposal: Proposal | None, unfit: str
) -> ServerForm | None:
    msa = getattr(send_as, "smtp_msa", None)
    if msa is None and not _may_get_server(send_as, guardrails):
        return None
    return ServerForm(
        posted,
        address=send_as.send_as_email,
        guardrails=guardrails,
        route=OWN_SERVER if proposal and (proposal.host or not unfit) else OUR_SERVERS,
        msa=msa,
        proposal=proposal,
    )


def _save_server(request: SignedInRequest, send_as: SendAs, form: ServerForm | None) -> bool:
    """False where it can't be kept; the form says why.

    A stored password that is in doubt is tested again. It stays as it is where that fails: the
    next page says so, and the rest is saved.
    """
    if form is None:
        return True
    if not form.has_changed():
        if is_in_doubt(send_as):
            test_stored(request, send_as)
        return True
    if not form.is_valid():
        return False
    actor = actor_of(request)
    try:
        if form.uses_own_server:
            set_gateway(actor=actor, send_as=send_as, gateway=form.gateway)
        else:
            remove_gateway(actor=actor, send_as=send_as)
    except (ValidationError, ConnectionTestError) as refusal:
        form.refuse(refusal)
        return False
    return True


def _details_of(listed: ListedAddress) -> dict[str, Any]:
    row = listed.row
    return {
        "display_name": listed.display_name,
        "reply_to_address": row.reply_to_address if row else "",
        "signature": signature_for_box(row.signature) if row else "",
        "treat_as_alias": row.treat_as_alias if row else True,
    }


def _save_details(request: SignedInRequest, address: str, form: DetailsForm) -> bool:
    """False where they can't be kept; the form says why."""
    try:
        change_details(
            actor=actor_of(request), user=request.user, address=address, details=form.details
        )
    except ValidationError as refusal:
        form.add_error(None, refusal)
        return False
    return True


def _changed(request: SignedInRequest, address: str) -> HttpResponse:
    messages.success(request, _("%s is saved.") % address)
    return redirect("sendas:list")

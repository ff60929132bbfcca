"""A new address in three steps; the third is proof.py."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters

from accounts.late_forms import keeps_typed, unjudged
from accounts.requests import SignedInRequest, TypedRequest, actor_of
from sendas.drafts import carried, draft_in, drop_draft, keep_draft, take_up_draft
from sendas.forms import OUR_SERVERS, OWN_SERVER, AddressForm, ServerForm
from sendas.services.acceptance import judge_address
from sendas.services.addresses import Details, add_address, may_have_gateway
from sendas.services.allowance import gateway_allowance
from sendas.services.connection import GatewaySettings
from sendas.services.discovery import Proposal
from sendas.services.guardrails import domain_refusal, fit_proposal, guardrail_notes, guardrails_of
from sendas.services.outcomes import ConnectionTestError
from sendas.views.parts import form_data, page, preview
from sendas.views.proof import mail_proof


@page
@keeps_typed()
def add(request: TypedRequest) -> HttpResponse:
    """Step 1: the address. It is added at once where it can have no server of its own."""
    initial = draft_in(request) or {"display_name": request.user.name, "treat_as_alias": True}
    form = AddressForm(request.user, form_data(request), initial)
    if request.is_late:
        form = unjudged(form)
    if form.is_valid():
        if may_have_gateway(request.user, form.cleaned_data["address"]):
            keep_draft(request, form.cleaned_data)
            return redirect(_page_of_draft("sendas:server", form.cleaned_data["address"]))
        try:
            return _add(request, form.cleaned_data, None)
        except ValidationError as refusal:
            form.add_error(None, refusal)
    context = {"form": form, "allowance": gateway_allowance(request.user)}
    return render(request, "sendas/add.html", context)


@sensitive_post_parameters("password")
@page
@keeps_typed()
def server(request: TypedRequest) -> HttpResponse:
    """Step 2: which server carries the drafted address's mail."""
    if request.is_late:
        take_up_draft(request, request.POST.get("draft", ""))
    draft = draft_in(request)
    if draft is None:
        return redirect("sendas:add")
    back = _page_of_draft("sendas:add", draft["address"])
    # What was posted is kept on the page, even if the policy went off meanwhile.
    if request.method != "POST" and not may_have_gateway(request.user, draft["address"]):
        return redirect(back)
    proposal = Proposal(**draft["proposal"])
    guardrails = guardrails_of(request.user)
    fitting, unfit = fit_proposal(guardrails, draft["address"], proposal)
    # Where no password would be taken, or the server is forbidden, the other way is chosen.
    takes_password = proposal.takes_some_password and (fitting.host or not unfit)
    form = ServerForm(
        form_data(request),
        address=draft["address"],
        guardrails=guardrails,
        route=OWN_SERVER if takes_password else OUR_SERVERS,
        proposal=fitting,
    )
    if request.is_late:
        form = unjudged(form)
    if form.is_valid():
        try:
            return _add(request, draft, form.gateway if form.uses_own_server else None)
        except (ValidationError, ConnectionTestError) as refusal:
            form.refuse(refusal)
    context = {
        **preview(request, draft["address"], draft["display_name"]),
        "form": form,
        "proposal": proposal,
        "unfit": unfit,
        "domain_refusal": domain_refusal(guardrails, draft["address"]),
        "acceptance": judge_address(request.user, draft["address"], fitting.host),
        "notes": guardrail_notes(guardrails),
        "back": back,
        "carried": carried(request, draft),
    }
    return render(request, "sendas/server.html", context)


def _page_of_draft(view_name: str, address: str) -> str:
    return reverse(view_name, query={"address": address})


def _add(
    request: SignedInRequest, draft: dict[str, Any], gateway: GatewaySettings | None
) -> HttpResponse:
    send_as = add_address(
        actor=actor_of(request),
        user=request.user,
        address=draft["address"],
        details=Details(**{name: draft[name] for name in Details._fields if name in draft}),
        gateway=gateway,
    )
    drop_draft(request, draft["address"])
    mail_proof(request, send_as)
    return redirect("sendas:prove", send_as.pk)

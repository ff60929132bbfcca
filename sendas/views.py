"""A person's own settings: the addresses to send from. Every page works without JavaScript."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.access import signed_in
from accounts.late_forms import keeps_typed, unjudged
from accounts.models import User
from accounts.models.directory import in_own_domains
from accounts.requests import SignedInRequest, TypedRequest, actor_of
from policies.guardrails import Guardrails
from sendas.access import listed_address, outside_address, own_address, ownership_link
from sendas.drafts import carried, draft_in, drop_draft, keep_draft, open_drafts, take_up_draft
from sendas.forms import (
    OUR_SERVERS,
    OWN_SERVER,
    AddressForm,
    CodeForm,
    DetailsForm,
    ReplyForm,
    ServerForm,
)
from sendas.models import ReplyFrom, SendAs, SmtpMsa
from sendas.services.acceptance import judge_address, judge_list
from sendas.services.addresses import (
    Details,
    ListedAddress,
    add_address,
    change_details,
    choose_reply_from,
    delete_address,
    list_addresses,
    make_default,
    may_have_gateway,
    outside_limit,
    remove_gateway,
    reply_from,
    set_gateway,
)
from sendas.services.allowance import gateway_allowance
from sendas.services.breaker import try_stored_password
from sendas.services.connection import GatewaySettings
from sendas.services.discovery import Proposal, propose_settings
from sendas.services.domain_questions import ask_for_page
from sendas.services.guardrails import (
    domain_refusal,
    fit_proposal,
    guardrail_notes,
    guardrails_of,
)
from sendas.services.outcomes import ConnectionTestError, explain_check
from sendas.services.proof import confirm_code, confirm_link, send_proof
from sendas.services.signatures import signature_for_box
from smtp.address import split_address

page = require_http_methods(["GET", "HEAD", "POST"])


@page
@signed_in
def address_list(request: SignedInRequest) -> HttpResponse:
    """The list; each action's button carries the address it is for."""
    if request.method != "POST":
        return _show_list(request)
    if "discard" in request.POST:
        drop_draft(request, request.POST["discard"])
        return redirect("sendas:list")
    if "reply_from" in request.POST:
        return _choose_reply(request)
    for action, act in LIST_ACTIONS.items():
        if action in request.POST:
            return act(request, listed_address(request, request.POST[action]))
    raise BadRequest("None of the list's actions.")


def _show_list(request: SignedInRequest, refused: CodeForm | None = None) -> HttpResponse:
    allowance = gateway_allowance(request.user)
    if request.htmx and request.GET.get("seen") == allowance.stage:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    listing = list_addresses(request.user)
    accepted = judge_list(request.user, listing)
    failed_checks = _failed_checks(request.user, listing)
    context = {
        "reply_form": ReplyForm(initial={"reply_from": reply_from(request.user)}),
        "rows": [
            (
                listed,
                _code_form(listed, refused),
                accepted.get(listed.address),
                failed_checks.get(listed.address),
            )
            for listed in listing
        ],
        "allowance": allowance,
        "outside_count": sum(not listed.is_own for listed in listing),
        "outside_limit": outside_limit(request.user),
        "drafts": open_drafts(request, {listed.address for listed in listing}),
    }
    return render(request, "sendas/list.html", context)


def _failed_checks(user: User, listing: Sequence[ListedAddress]) -> dict[str, ConnectionTestError]:
    """By address: what the last check of its own server found, where that failed."""
    servers: dict[str, SmtpMsa | None] = {
        listed.address: getattr(listed.row, "smtp_msa", None) for listed in listing
    }
    failed = {address: msa for address, msa in servers.items() if msa and msa.check_failure}
    if not failed:
        return {}
    least_tls = guardrails_of(user).least_tls
    return {
        address: explain_check(
            msa.check_failure, host=msa.host, port=msa.port, address=address, least_tls=least_tls
        )
        for address, msa in failed.items()
    }


def _code_form(listed: ListedAddress, refused: CodeForm | None) -> CodeForm | None:
    if refused and refused.send_as == listed.row:
        return refused
    return CodeForm(listed.row) if listed.wants_proof and listed.row else None


def _choose_reply(request: SignedInRequest) -> HttpResponse:
    form = ReplyForm(request.POST)
    if not form.is_valid():
        raise BadRequest("None of the two ways to reply.")
    choice = ReplyFrom(form.cleaned_data["reply_from"])
    choose_reply_from(actor=actor_of(request), user=request.user, choice=choice)
    messages.success(request, _("Saved: %s") % choice.label)
    return redirect("sendas:list")


def _make_default(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    try:
        make_default(actor=actor_of(request), user=request.user, address=listed.address)
    except ValidationError as refusal:
        messages.error(request, refusal.messages[0])
    return redirect("sendas:list")


def _send_again(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    if listed.wants_proof and listed.row and _send_proof(request, listed.row):
        messages.success(
            request, _("A new code is on its way to %s; the one before is void.") % listed.address
        )
    return redirect("sendas:list")


def _confirm_code(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    if not listed.wants_proof or listed.row is None:
        return redirect("sendas:list")  # a second click, or the link was faster
    form = CodeForm(listed.row, request.POST)
    if _takes_code(request, form):
        return _confirmed(request, listed.address)
    return _show_list(request, refused=form)


def _takes_code(request: SignedInRequest, form: CodeForm) -> bool:
    """False where it is not the code; the form says why."""
    if not form.is_valid():
        return False
    try:
        confirm_code(actor=actor_of(request), send_as=form.send_as, code=form.cleaned_data["code"])
    except ValidationError as refusal:
        form.add_error("code", refusal)
        return False
    return True


def _try_password(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    if listed.row and _is_in_doubt(listed.row):
        _test_stored(request, listed.row)
    return redirect("sendas:list")


def _is_in_doubt(send_as: SendAs) -> bool:
    """Whether there is a stored password to be tested again, and it may be."""
    return (
        hasattr(send_as, "smtp_msa")
        and send_as.smtp_msa.is_in_doubt
        and may_have_gateway(send_as.user, send_as.send_as_email)
    )


def _test_stored(request: SignedInRequest, send_as: SendAs) -> None:
    host = send_as.smtp_msa.host
    try:
        try_stored_password(actor=actor_of(request), send_as=send_as)
    except ConnectionTestError as refusal:
        messages.error(request, refusal.text)
    except ValidationError as refusal:
        messages.error(request, refusal.messages[0])
    else:
        told = _("%s took the stored password. What waits for it leaves by itself.")
        messages.success(request, told % host)


LIST_ACTIONS = {
    "make_default": _make_default,
    "try_password": _try_password,
    "send_again": _send_again,
    "confirm": _confirm_code,
}


@page
@keeps_typed()
def add(request: TypedRequest) -> HttpResponse:
    """Step 1: the address. It is added at once where it can have no server of its own."""
    initial = draft_in(request) or {"display_name": request.user.name, "treat_as_alias": True}
    form = AddressForm(request.user, _posted(request), initial)
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
        _posted(request),
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
        **_preview(request, draft["address"], draft["display_name"]),
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
    _send_proof(request, send_as)
    return redirect("sendas:prove", send_as.pk)


@page
@signed_in
def prove(request: SignedInRequest, pk: int) -> HttpResponse:
    """Step 3: the code. The list takes it too, whenever it comes."""
    send_as = outside_address(request, pk)
    listed = listed_address(request, send_as.send_as_email)
    if not listed.wants_proof:
        return redirect("sendas:list")  # a second click, or the link was faster
    if "send_again" in request.POST:
        _send_again(request, listed)
        return redirect("sendas:prove", pk)
    form = CodeForm(send_as, _posted(request), is_due=True)
    if _takes_code(request, form):
        return _confirmed(request, listed.address)
    context = {
        "listed": listed,
        "form": form,
        "with_server": may_have_gateway(request.user, listed.address),
    }
    return render(request, "sendas/prove.html", context)


@page
@keeps_typed()
def edit_own(request: TypedRequest) -> HttpResponse:
    """The primary address or an own alias, named by `?address=`: it may have no row yet."""
    listed = own_address(request, request.GET.get("address", ""))
    form = DetailsForm(_posted(request), initial=_details_of(listed))
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
    posted, kept = _posted(request), _details_of(listed_address(request, address))
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
            _send_proof(request, send_as)
        return _changed(request, address)
    context = {
        **_preview(request, address, send_as.display_name),
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
        if _is_in_doubt(send_as):
            _test_stored(request, send_as)
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
    return _confirmed(request, proof.send_as.send_as_email)


def _posted(request: SignedInRequest) -> Any:
    return request.POST if request.method == "POST" else None


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


def _preview(request: SignedInRequest, address: str, display_name: str) -> dict[str, Any]:
    """What the page shows of a message on either route."""
    return {
        "address": address,
        "display_name": display_name,
        "domain": split_address(address)[1],
        "own_domain": split_address(request.user.primary_address)[1],
    }


def _send_proof(request: SignedInRequest, send_as: SendAs) -> bool:
    """False where no mail left; the next page says why."""
    try:
        send_proof(send_as)
    except ValidationError as refusal:
        messages.error(request, refusal.messages[0])
        return False
    return True


def _changed(request: SignedInRequest, address: str) -> HttpResponse:
    messages.success(request, _("%s is saved.") % address)
    return redirect("sendas:list")


def _confirmed(request: SignedInRequest, address: str) -> HttpResponse:
    messages.success(request, _("%s is yours and can be chosen as From at once.") % address)
    return redirect("sendas:list")

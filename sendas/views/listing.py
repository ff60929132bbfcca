"""The list of addresses, and what its buttons do."""

from collections.abc import Sequence
from http import HTTPStatus

from django.contrib import messages
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.access import signed_in
from accounts.models import User
from accounts.requests import SignedInRequest, actor_of
from sendas.access import listed_address
from sendas.drafts import drop_draft, open_drafts
from sendas.forms import CodeForm, ReplyForm
from sendas.models import ReplyFrom, SmtpMsa
from sendas.services.acceptance import judge_list
from sendas.services.addresses import (
    ListedAddress,
    choose_reply_from,
    list_addresses,
    make_default,
    outside_limit,
    reply_from,
)
from sendas.services.allowance import gateway_allowance
from sendas.services.guardrails import guardrails_of
from sendas.services.outcomes import ConnectionTestError, explain_check
from sendas.views.parts import page
from sendas.views.proof import confirmed, send_again, takes_code
from sendas.views.stored_password import is_in_doubt, test_stored


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


def _confirm_code(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    if not listed.wants_proof or listed.row is None:
        return redirect("sendas:list")  # a second click, or the link was faster
    form = CodeForm(listed.row, request.POST)
    if takes_code(request, form):
        return confirmed(request, listed.address)
    return _show_list(request, refused=form)


def _try_password(request: SignedInRequest, listed: ListedAddress) -> HttpResponse:
    if listed.row and is_in_doubt(listed.row):
        test_stored(request, listed.row)
    return redirect("sendas:list")


LIST_ACTIONS = {
    "make_default": _make_default,
    "try_password": _try_password,
    "send_again": send_again,
    "confirm": _confirm_code,
}

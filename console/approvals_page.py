"""Own servers that wait for an administrator, and those that one refused."""

from http import HTTPStatus
from typing import NamedTuple

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Privilege
from accounts.models.directory import join_names
from accounts.requests import actor_of
from console.access import AdminRequest
from console.unit_tree import ways_to
from sendas.models import Approval, SmtpMsa
from sendas.services.approval import approve_gateway, refuse_gateway, unapproved_gateways

GATEWAYS_PER_PAGE = 50
BUTTONS = {"approve", "refuse"}


class JudgeForm(forms.Form):
    """Which server, as the page showed it, and why."""

    gateway = forms.IntegerField(min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)
    credential = forms.UUIDField(widget=forms.HiddenInput)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=SmtpMsa._meta.get_field("approval_reason").max_length,
        required=False,
    )

    use_required_attribute = False

    def __init__(self, msa: SmtpMsa | None = None, data: QueryDict | None = None) -> None:
        number = msa.pk if msa else ""
        initial = {"gateway": msa.pk, "credential": msa.credential_id} if msa else {}
        super().__init__(data, initial=initial, auto_id=f"id_%s_{number}")


class Row(NamedTuple):
    msa: SmtpMsa
    unit_path: str
    form: JudgeForm


def approvals_page(request: AdminRequest) -> HttpResponse:
    if request.method != "POST":
        return _list(request)
    return _judge(request)


def _judge(request: AdminRequest) -> HttpResponse:
    form = JudgeForm(data=request.POST)
    if {"gateway", "credential"} & set(form.errors) or not BUTTONS & set(request.POST):
        raise BadRequest("No button of this page.")
    msa = administered_gateways(request).filter(pk=form.cleaned_data["gateway"]).first()
    refused = JudgeForm(msa, request.POST)
    if form.errors:
        return _list(request, msa, refused)
    judge = approve_gateway if "approve" in request.POST else refuse_gateway
    try:
        is_told = judge(
            actor=actor_of(request),
            msa_id=form.cleaned_data["gateway"],
            credential_id=form.cleaned_data["credential"],
            reason=form.cleaned_data["reason"].strip(),
        )
    except ValidationError as refusal:
        refused.add_error("reason" if hasattr(refusal, "error_dict") else None, refusal.messages)
        return _list(request, msa, refused)
    except PermissionDenied as refusal:
        refused.add_error(None, str(refusal))
        return _list(request, msa, refused)
    _say(request, msa, is_told=is_told)
    return redirect("console:approvals")


def _say(request: AdminRequest, msa: SmtpMsa | None, *, is_told: bool) -> None:
    who = {"person": msa.send_as.user.name if msa else ""}
    if is_told:
        messages.success(request, _("Decided. %(person)s was told by mail.") % who)
    else:
        messages.warning(
            request,
            _("Decided, but no mail left. %(person)s sees it under Send mail as.") % who,
        )


def administered_gateways(request: AdminRequest) -> QuerySet[SmtpMsa]:
    """Those that wait or were refused, of accounts where one has *mail settings*."""
    below = Q(pk=None)
    for path in request.rights.paths(Privilege.MAIL_SETTINGS):
        below |= Q(send_as__user__unit__path__startswith=path)
    return unapproved_gateways().filter(below)


def count_waiting(request: AdminRequest) -> int:
    return administered_gateways(request).filter(approval=Approval.WAITING).count()


def _list(
    request: AdminRequest, msa: SmtpMsa | None = None, refused: JudgeForm | None = None
) -> HttpResponse:
    wanted = Approval.REFUSED if "refused" in request.GET else Approval.WAITING
    found = administered_gateways(request).filter(approval=wanted)
    page = Paginator(found, GATEWAYS_PER_PAGE).get_page(request.GET.get("page"))
    ways = ways_to({row.send_as.user.unit for row in page})
    context = {
        "page": page,
        "is_refused": wanted == Approval.REFUSED,
        "form": refused,
        "rows": [
            Row(
                row,
                join_names(ways[row.send_as.user.unit.path]),
                refused if refused and row == msa else JudgeForm(row),
            )
            for row in page
        ],
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (_("Mail"), reverse("console:mail")),
            (_("Waiting for approval"), ""),
        ],
    }
    status = HTTPStatus.CONFLICT if refused else HTTPStatus.OK
    return render(request, "console/approvals.html", context, status=status)

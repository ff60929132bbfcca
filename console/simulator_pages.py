"""The simulator, and the page of each message: both show a decision step by step."""

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from console.access import AdminRequest, administered_accounts
from console.simulated_time import When, past, planned
from console.simulator import Decision, explain_delivery, simulate
from delivery.explain import attempt_words
from delivery.models import Delivery
from policies.services import FURTHEST, database_now
from smtp.address import AddressError, normalise_address

MESSAGES_SHOWN = 10


class SimulatorForm(forms.Form):
    """Whose message, from which address, and when; looks only among the administered accounts."""

    account = forms.CharField(
        label=gettext_lazy("Account"),
        max_length=254,
        error_messages={"required": gettext_lazy("Type the primary address of an account.")},
    )
    sender = forms.CharField(
        label=gettext_lazy("From"),
        max_length=254,
        required=False,
    )
    at = forms.DateTimeField(
        label=gettext_lazy("At"),
        required=False,
        widget=forms.DateTimeInput(
            format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local", "step": "60"}
        ),
        error_messages={
            "invalid": gettext_lazy("Write a date and a time, like 2027-01-31 18:00, or neither.")
        },
    )

    def __init__(self, request: AdminRequest) -> None:
        self.accounts = administered_accounts(request)
        super().__init__(request.GET if request.GET.get("account") is not None else None)

    def clean_account(self) -> User:
        typed = self.cleaned_data["account"].strip().lower()
        user = self.accounts.filter(primary_address=typed).first()
        if user is None:
            raise forms.ValidationError(
                _("No account that you administer has this primary address. Look it up.")
            )
        return user

    def clean_sender(self) -> str:
        typed = self.cleaned_data["sender"].strip()
        try:
            return normalise_address(typed) if typed else ""
        except AddressError as error:
            raise forms.ValidationError(_("That is no address: %s.") % error) from error

    def clean_at(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["at"]
        if at and at > database_now() + FURTHEST:
            raise forms.ValidationError(_("That is more than a year away. Choose an earlier time."))
        return at


def simulator_page(request: AdminRequest) -> HttpResponse:
    form = SimulatorForm(request)
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        user, at = form.cleaned_data["account"], form.cleaned_data["at"]
        address = form.cleaned_data["sender"] or user.primary_address
        when = _when(user, address, at) if at else None
        context |= {
            "account": user,
            "address": address,
            "at": at,
            "when": when,
            "messages_of": _handed_in(user),
            **shown_decision(simulate(user, address, when)),
        }
        if when and when.is_past:
            context |= _logged(user, address, when)
    return render(request, "console/simulator.html", context)


def message_page(request: AdminRequest, delivery: Delivery) -> HttpResponse:
    again = {"account": delivery.account_address, "sender": delivery.from_address}
    context = {
        "delivery": delivery,
        "took": delivery.finished_at - delivery.created_at if delivery.finished_at else None,
        "again_url": f"{reverse('console:simulator')}?{urlencode(again)}",
        "path": [(_("Simulator"), reverse("console:simulator")), (_("Why this route?"), "")],
        **shown_decision(explain_delivery(delivery)),
    }
    return render(request, "console/message.html", context)


def shown_decision(decision: Decision) -> dict[str, Any]:
    """What templates/console/parts/decision.html takes."""
    change = decision.trail.change if decision.trail else None
    return {
        "decision": decision,
        "rungs": decision.rungs,
        "trail": decision.trail,
        "change_url": reverse("console:rollout", args=[change.pk]) if change else "",
    }


def _handed_in(user: User) -> QuerySet[Delivery]:
    return Delivery.objects.filter(account=user).order_by("-created_at")[:MESSAGES_SHOWN]


def _when(user: User, address: str, at: datetime) -> When:
    return planned(user, at) if at > database_now() else past(user, address, at)


def _logged(user: User, address: str, when: When) -> dict[str, Any]:
    """The last message that the account handed in from that address until then."""
    handed_in = Delivery.objects.filter(
        account=user, from_address=address, created_at__lt=when.until
    )
    last = handed_in.order_by("-created_at").first()
    return {"logged": last, "logged_words": attempt_words(last) if last else None}

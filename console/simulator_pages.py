"""The simulator, and the page of each message: both show a decision step by step."""

from datetime import datetime, timedelta
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
from console.simulator import Decision, explain_delivery, simulate
from delivery.models import Delivery
from policies.services import database_now
from smtp.address import AddressError, normalise_address

MESSAGES_SHOWN = 10
MINUTE = timedelta(minutes=1)  # as exactly as a browser's field asks for a time


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
        if at and at > database_now():
            raise forms.ValidationError(
                _(
                    "That time is still to come. Leave it empty for now; the account's page tells "
                    "what is on its way."
                )
            )
        return at


def simulator_page(request: AdminRequest) -> HttpResponse:
    form = SimulatorForm(request)
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        user, at = form.cleaned_data["account"], form.cleaned_data["at"]
        address = form.cleaned_data["sender"] or user.primary_address
        context |= {"account": user, "address": address, "at": at, "messages_of": _handed_in(user)}
        if at is None:
            context |= shown_decision(simulate(user, address))
        elif delivery := _last_before(user, address, at):
            context |= {"delivery": delivery, **shown_decision(explain_delivery(delivery))}
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


def _last_before(user: User, address: str, at: datetime) -> Delivery | None:
    """The last message that the account handed in from that address until that minute's end."""
    handed_in = Delivery.objects.filter(
        account=user, from_address=address, created_at__lt=at + MINUTE
    )
    return handed_in.order_by("-created_at").first()

"""Passwords for servers outside: how many are stored for which, and wiping those of one server."""

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models.directory import paths_by_unit
from accounts.requests import actor_of
from console.access import AdminRequest
from sendas.services.wiping import (
    Concerned,
    hosts_with_passwords,
    stored_for,
    units_signing_in_at,
    wipe_passwords,
)

HOSTS_SHOWN = 50
UNITS_SHOWN = 20


class WipeForm(forms.Form):
    with_sign_ins = forms.BooleanField(
        label=gettext_lazy("Wipe the sign-ins of the outbound gateways, too"),
        help_text=gettext_lazy(
            "All mail of these units that no own server carries stops, until an administrator "
            "types the password again."
        ),
        error_messages={
            "required": gettext_lazy(
                "Nothing else is stored for this server: tick this to wipe it."
            )
        },
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        required=False,
        help_text=gettext_lazy("Stands in the audit."),
    )

    use_required_attribute = False

    def __init__(self, stored: Concerned, data: QueryDict | None = None) -> None:
        super().__init__(data)
        self.fields["with_sign_ins"].required = not stored.addresses
        if not stored.sign_ins:
            del self.fields["with_sign_ins"]


def stored_passwords_page(request: AdminRequest) -> HttpResponse:
    search = request.GET.get("q", "").strip()
    found = hosts_with_passwords(search, HOSTS_SHOWN + 1)
    context = {
        "rows": found[:HOSTS_SHOWN],
        "shown": HOSTS_SHOWN if len(found) > HOSTS_SHOWN else None,
        "search": search,
    }
    return render(request, "console/stored_passwords.html", context)


def wipe_page(request: AdminRequest, host: str) -> HttpResponse:
    stored = stored_for(host)
    form = WipeForm(stored, request.POST if request.method == "POST" else None)
    if form.is_valid():
        return _wipe(request, host, form)
    if not stored.addresses and not stored.sign_ins:
        raise Http404
    units = units_signing_in_at(host) if stored.sign_ins else []
    context = {
        "stored": stored,
        "units": list(paths_by_unit(units[:UNITS_SHOWN]).values()),
        "more_units": len(units) - UNITS_SHOWN if len(units) > UNITS_SHOWN else 0,
        "form": form,
        "path": [(_("Stored passwords"), reverse("console:stored_passwords")), (host, "")],
    }
    return render(request, "console/wipe_passwords.html", context)


def _wipe(request: AdminRequest, host: str, form: WipeForm) -> HttpResponse:
    wiped = wipe_passwords(
        actor=actor_of(request),
        host=host,
        reason=form.cleaned_data["reason"],
        with_sign_ins=form.cleaned_data.get("with_sign_ins", False),
    )
    if wiped.addresses:
        told = ngettext(
            "%(count)d password for %(host)s is wiped. Its owner hears of it by mail.",
            "%(count)d passwords for %(host)s are wiped. Their owners hear of it by mail.",
            wiped.addresses,
        )
        messages.success(request, told % {"count": wiped.addresses, "host": host})
    if wiped.sign_ins:
        told = ngettext(
            "%(count)d sign-in of outbound gateways at %(host)s is wiped.",
            "%(count)d sign-ins of outbound gateways at %(host)s are wiped.",
            wiped.sign_ins,
        )
        messages.success(request, told % {"count": wiped.sign_ins, "host": host})
    if not wiped.addresses and not wiped.sign_ins:
        messages.info(request, _("No password for %(host)s was stored any more.") % {"host": host})
    return redirect("console:stored_passwords")

"""Passwords for servers outside: how many are stored for which, and wiping those of one server."""

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.requests import actor_of
from console.access import AdminRequest
from sendas.services.wiping import Stored, hosts_with_passwords, stored_for, wipe_passwords

HOSTS_SHOWN = 50


class WipeForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        required=False,
        help_text=gettext_lazy("Stands in the audit."),
    )


def stored_passwords_page(request: AdminRequest) -> HttpResponse:
    search = request.GET.get("q", "").strip()
    found = [Stored(*row) for row in hosts_with_passwords(search)[: HOSTS_SHOWN + 1]]
    context = {
        "rows": found[:HOSTS_SHOWN],
        "shown": HOSTS_SHOWN if len(found) > HOSTS_SHOWN else None,
        "search": search,
    }
    return render(request, "console/stored_passwords.html", context)


def wipe_page(request: AdminRequest, host: str) -> HttpResponse:
    form = WipeForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        return _wipe(request, host, form.cleaned_data["reason"])
    stored = stored_for(host)
    if not stored.addresses:
        raise Http404
    context = {
        "stored": stored,
        "form": form,
        "path": [(_("Stored passwords"), reverse("console:stored_passwords")), (host, "")],
    }
    return render(request, "console/wipe_passwords.html", context)


def _wipe(request: AdminRequest, host: str, reason: str) -> HttpResponse:
    wiped = wipe_passwords(actor=actor_of(request), host=host, reason=reason)
    if wiped.addresses:
        told = ngettext(
            "%(count)d password for %(host)s is wiped. Its owner hears of it by mail.",
            "%(count)d passwords for %(host)s are wiped. Their owners hear of it by mail.",
            wiped.addresses,
        )
        messages.success(request, told % {"count": wiped.addresses, "host": host})
    else:
        messages.info(request, _("No password for %(host)s was stored any more.") % {"host": host})
    return redirect("console:stored_passwords")

"""What an account can do, besides typing a new password, while an address's server refuses it."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts.access import signed_in
from accounts.requests import SignedInRequest, actor_of
from delivery.outbox import discard, held_for, release_mended
from sendas.access import stopped_address
from sendas.services.addresses import remove_gateway

page = require_http_methods(["GET", "HEAD", "POST"])


@page
@signed_in
def by_our_servers(request: SignedInRequest, pk: int) -> HttpResponse:
    """Ask, then give the server up: what waits leaves by ours."""
    send_as = stopped_address(request, pk)
    if send_as is None:  # mended meanwhile, or a second click
        return redirect("sendas:list")
    if request.method != "POST":
        context = {"send_as": send_as, "waiting": held_for(send_as.smtp_msa).count()}
        return render(request, "delivery/by_our_servers.html", context)
    remove_gateway(actor=actor_of(request), send_as=send_as)
    release_mended()
    messages.success(request, _("Mail from %s leaves by our servers now.") % send_as.send_as_email)
    return redirect("sendas:list")


@page
@signed_in
def discard_waiting(request: SignedInRequest, pk: int) -> HttpResponse:
    """Ask, then send what waits to nobody."""
    send_as = stopped_address(request, pk)
    waiting = held_for(send_as.smtp_msa) if send_as else None
    if not waiting:
        return redirect("sendas:list")
    if request.method != "POST":
        context = {"send_as": send_as, "waiting": len(waiting)}
        return render(request, "delivery/discard_waiting.html", context)
    actor = actor_of(request)
    count = sum(discard(actor=actor, message=message) for message in waiting)
    told = ngettext("%d message is discarded.", "%d messages are discarded.", count)
    messages.info(request, told % count)
    return redirect("sendas:list")

"""The demo's page: which server carried what, with which envelope and headers, and why."""

import json
import os
import shlex
from typing import Any, NamedTuple

from allauth.mfa import app_settings
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import signed_in
from accounts.models import User
from accounts.requests import SignedInRequest
from config.captured_mail import (
    SERVERS,
    Captured,
    message_files,
    newest_captured,
    read_received,
    read_text,
)
from config.installation import HOST, Installation, read_installation
from delivery.explain import explain
from delivery.models import Delivery
from sendas.services.addresses import list_addresses

RECIPIENT = "claire@customer.example"
CARRIED_BY = {"ours": Delivery.RouteKind.DEFAULT, "partner": Delivery.RouteKind.GATEWAY}


class Line(NamedTuple):
    """One message in its lane; `primary` is marked wherever it shows."""

    message: Captured
    delivery: Delivery | None
    reason: str
    received: str
    primary: str


@require_safe
@signed_in
def demo(request: SignedInRequest) -> HttpResponse:
    """The page; to its own polling, the lanes alone, or 204 while nothing new has come."""
    installation = _demo_installation()
    lanes = {name: newest_captured(installation.maildir(name), name) for name in SERVERS}
    messages = [*lanes["ours"], *lanes["partner"]]
    messages.sort(key=lambda message: message.at, reverse=True)
    seen = messages[0].name if messages else "nothing"
    if request.htmx and request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    context = {
        "lines": _lines(messages),
        "seen": seen,
        "ours": len(lanes["ours"]),
        "partner": len(lanes["partner"]),
        "ours_port": installation.ports["OUTGATE_DEMO_OURS_PORT"],
        "partner_port": installation.ports["OUTGATE_DEMO_PARTNER_PORT"],
        "command": _swaks_command(request.user) if "swaks" in request.GET else "",
    }
    return render(request, "demo/page.html#lanes" if request.htmx else "demo/page.html", context)


@require_safe
@never_cache
def demo_codes(request: HttpRequest) -> HttpResponse:
    """The second factors of the demo's people, for everybody: they are needed to sign in."""
    sign_ins = json.loads(_demo_installation().sign_ins.read_text())
    codes = [
        (address, code_now(sign_in["totp_secret"]))
        for address, sign_in in sign_ins.items()
        if sign_in["totp_secret"]
    ]
    return render(request, "demo/codes.html", {"codes": codes})


def code_now(secret: str) -> str:
    counter = list(yield_hotp_counters_from_time())[app_settings.TOTP_TOLERANCE]
    return str(format_hotp_value(hotp_value(secret, counter)))


@require_safe
@login_required
def demo_source(_request: SignedInRequest, server: str, name: str) -> FileResponse:
    """A message as it was kept, as plain text, which no browser takes for a page."""
    if server in SERVERS:
        for file in message_files(_demo_installation().maildir(server)):
            if file.name == name:
                return FileResponse(file.open("rb"), content_type="text/plain; charset=utf-8")
    raise Http404


@require_safe
@signed_in
def demo_newest(request: SignedInRequest) -> HttpResponse:
    """The newest message that our server received for `?to=`; without one, the page of all."""
    to = request.GET.get("to", "")
    for message in newest_captured(_demo_installation().maildir("ours"), "ours"):
        if to and message.recipients == to:
            context = {"message": message, "text": read_text(message.file)}
            return render(request, "demo/message.html", context)
    return redirect("demo")


def _demo_installation() -> Installation:
    """Raises Http404 in an installation that is no demo."""
    if not settings.OUTGATE_DEMO:
        raise Http404
    return read_installation(os.environ)


def _lines(messages: list[Captured]) -> list[Line]:
    deliveries = _deliveries(messages)
    return [
        _line(message, deliveries.get((message.message_id, CARRIED_BY[message.server])))
        for message in messages
    ]


def _deliveries(messages: list[Captured]) -> dict[tuple[str, str], Delivery]:
    """The newest delivery of each Message-ID and route that a server may have taken."""
    found = Delivery.objects.exclude(state=Delivery.State.REFUSED).filter(
        message_id__in={message.message_id for message in messages} - {""}
    )
    return {(each.message_id, each.route): each for each in found.order_by("created_at")}


def _line(message: Captured, delivery: Delivery | None) -> Line:
    primary = delivery.account_address if delivery else ""
    return Line(
        message=message,
        delivery=delivery,
        reason=_reason(message, delivery),
        received=_received_in_words(message.received),
        # Where it is also the From, it gives nothing away.
        primary="" if message.from_address == primary else primary,
    )


def _reason(message: Captured, delivery: Delivery | None) -> str:
    if delivery:
        return explain(delivery.explanation)
    if message.from_address == settings.OUTGATE_FROM_ADDRESS:
        return _("Outgate wrote this itself, so it left by our servers.")
    return _("No account handed this in.")


def _received_in_words(field: str) -> str:
    received = read_received(field)
    if received is None:
        return field
    words = [
        _("by %(server)s") % {"server": received.server},
        _("from %(client)s") % {"client": received.client},
        _("with TLS") if received.tls else _("without TLS"),
    ]
    return ", ".join([*words, _("signed in")] if received.signed_in else words)


def _swaks_command(user: User) -> str:
    """Ready to run but for the app password; From is an outside address where there is one."""
    listed = list_addresses(user)
    outside = [each.address for each in listed if each.row and each.row.is_accepted]
    sender = next(iter(outside), user.primary_address)
    authority = _demo_installation().data_dir / "certificates" / "ca.pem"
    options: dict[str, Any] = {
        "--server": HOST,
        "--port": settings.OUTGATE_SUBMISSION_PORT,
        "--tls-ca-path": authority,
        "--auth-user": user.primary_address,
        "--auth-password": "APP-PASSWORD",
        "--from": sender,
        "--to": RECIPIENT,
        "--h-Subject": _("Sent with swaks"),
    }
    words = [str(word) for option in options.items() for word in option]
    return shlex.join(["swaks", "--tls", "--tls-verify", *words])

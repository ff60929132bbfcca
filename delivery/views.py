"""Writing a message, and what became of those that were written. Works without JavaScript."""

import hashlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.access import signed_in
from accounts.late_forms import keeps_typed
from accounts.models import User
from accounts.requests import SignedInRequest, TypedRequest, actor_of
from delivery.access import own_message, own_messages
from delivery.explain import RouteWords, attempt_words
from delivery.forms import ComposeForm
from delivery.models import Delivery, OutboxMessage
from delivery.outbox import discard, discard_failed, retry_now
from delivery.reopening import Reopened, reopen
from delivery.sending import NotKeptError, Sender, send_letter, senders_of
from delivery.templatetags.routes import routes_of
from delivery.uploads import left_out
from sendas.models import ReplyFrom, SmtpMsa
from sendas.services.addresses import reply_from

PER_PAGE = 25

# What a link to the page may fill in, as in a mailto: URL (RFC 6068), and the form's fields.
FILLED_IN = {
    "from": "sender",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "subject": "subject",
    "body": "text",
    "in-reply-to": "in_reply_to",
    "references": "references",
}


def _show_signed_out(request: HttpRequest) -> HttpResponse:
    return _show(request, _typed(request, []), [], late="signed_out")


@require_http_methods(["GET", "HEAD", "POST"])
@keeps_typed(signed_out=_show_signed_out)
def compose(request: TypedRequest) -> HttpResponse:
    """Write a message, then hand it in to the outbox."""
    senders = senders_of(request.user)
    if request.is_late:
        return _show(request, _typed(request, senders), senders, late="too_old")
    if request.method == "POST":
        return _send(request, senders)
    return _write(request, senders)


def _write(request: SignedInRequest, senders: Sequence[Sender]) -> HttpResponse:
    given = {field: request.GET[name] for name, field in FILLED_IN.items() if name in request.GET}
    if "in_reply_to" in given and reply_from(request.user) == ReplyFrom.DEFAULT:
        given.pop("sender", None)
    return _show(request, ComposeForm(senders, given), senders)


@require_http_methods(["GET", "HEAD", "POST"])
@keeps_typed(signed_out=_show_signed_out)
def compose_again(request: TypedRequest, number: UUID) -> HttpResponse:
    """Change a message that failed, and send it: it takes the place of the failed one."""
    failed = own_message(request, number)
    senders = senders_of(request.user)
    reopened = reopen(actor=actor_of(request), message=failed)
    if request.is_late:
        form = _typed(request, senders, reopened)
        return _show(request, form, senders, late="too_old", reopened=reopened)
    if request.method == "POST":
        return _send(request, senders, failed, reopened)
    if reopened is None:
        messages.warning(request, _("What this message says is not kept here any more."))
        return redirect("delivery:outgoing")
    form = ComposeForm(senders, reopened.given, kept=reopened.attachments, formatted=reopened.html)
    return _show(request, form, senders, reopened=reopened)


def _send(
    request: SignedInRequest,
    senders: Sequence[Sender],
    failed: OutboxMessage | None = None,
    reopened: Reopened | None = None,
) -> HttpResponse:
    kept = reopened.attachments if reopened else ()
    form = ComposeForm(
        senders, data=request.POST, files=request.FILES, left_out=left_out(request), kept=kept
    )
    if failed and not reopened:
        # A second click on Send comes when the first has discarded it.
        if _is_stored(request):
            return redirect("delivery:outgoing")
        return _show_gone(request, senders)
    if form.is_valid():
        number = form.cleaned_data["number"]
        try:
            send_letter(user=request.user, letter=form.letter, number=number, failed=failed)
        except ValidationError as refusal:
            form.add_error(None, refusal)
        except NotKeptError:
            return _show_gone(request, senders)
        else:
            return redirect("delivery:outgoing")
    return _show(request, form, senders, reopened=reopened)


def _is_stored(request: SignedInRequest) -> bool:
    try:
        number = UUID(request.POST.get("number", ""))
    except ValueError:
        return False
    return own_messages(request).filter(pk=number).exists()


def _show_gone(request: SignedInRequest, senders: Sequence[Sender]) -> HttpResponse:
    """What was typed, to be sent as a message like any other."""
    form = ComposeForm(
        senders,
        data={name: value for name, value in request.POST.items() if name != "kept"},
        files=request.FILES,
    )
    form.add_error(
        None,
        _(
            "The failed message was discarded or sent again meanwhile, and its attachments with "
            "it. Look in your outbox first. Send makes this a message of its own."
        ),
    )
    return _show(request, form, senders)


def _typed(
    request: HttpRequest, senders: Sequence[Sender], reopened: Reopened | None = None
) -> ComposeForm:
    """The form as it was posted, and not judged."""
    return ComposeForm(
        senders,
        request.POST.dict() | {"kept": request.POST.getlist("kept")},
        chosen=request.FILES.getlist("attachments"),
        kept=reopened.attachments if reopened else (),
    )


def _show(
    request: HttpRequest,
    form: ComposeForm,
    senders: Sequence[Sender],
    *,
    late: str = "",
    reopened: Reopened | None = None,
) -> HttpResponse:
    signed_out = late == "signed_out"
    context = {
        "form": form,
        "usable": [sender for sender in senders if not sender.refusal],
        "unusable": [sender for sender in senders if sender.refusal],
        "late": late,
        "reopened": reopened,
        "action": request.path if reopened or signed_out else reverse("delivery:compose"),
        "carried": request.POST.getlist("kept") if signed_out else [],
    }
    refused = request.method == "POST"
    status = HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK
    return render(request, "delivery/compose.html", context, status=status)


class Line(NamedTuple):
    """A message, and by which way it went or goes next; None where that is of no interest.

    `stopped`: the server without a password that works, which it waits for whatever is tried.
    """

    message: OutboxMessage
    route: RouteWords | None
    stopped: SmtpMsa | None


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def outgoing(request: SignedInRequest) -> HttpResponse:
    """The account's messages in the outbox; a page that polls hears only of what changed."""
    if request.method == "POST":
        return _try_again(request)
    listing = Paginator(own_messages(request), PER_PAGE).get_page(request.GET.get("page"))
    lines = _lines(request, list(listing.object_list))
    seen = _digest(lines)
    if request.htmx and request.GET.get("seen") == seen:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    context = {
        "listing": listing,
        "lines": lines,
        "seen": seen,
        "is_live": any(line.message.is_under_way for line in lines),
    }
    template = "delivery/outgoing.html#list" if request.htmx else "delivery/outgoing.html"
    return render(request, template, context)


def _lines(request: SignedInRequest, shown: Sequence[OutboxMessage]) -> list[Line]:
    planned = routes_of(request.user)
    ways = _ways([message for message in shown if not message.is_under_way])
    stopped = _stopped(request.user)
    lines = []
    for message in shown:
        if message.is_under_way:
            route = planned.get(message.from_address)
            is_held = message.state == OutboxMessage.State.HELD
            waits = is_held and route is not None and route.kind == "stopped"
            server = stopped.get(message.credential_id) if waits else None
            lines.append(Line(message, route, server))
        else:
            lines.append(Line(message, ways.get(message.pk), None))
    return lines


def _stopped(user: User) -> dict[UUID | None, SmtpMsa]:
    """The account's servers whose password is refused or wiped, by credential."""
    servers = SmtpMsa.objects.without_working_password().filter(send_as__user=user)
    return {server.credential_id: server for server in servers}


def _ways(ended: Sequence[OutboxMessage]) -> dict[UUID, RouteWords]:
    """The way of the last attempt of each, where there was one."""
    attempts = Delivery.objects.filter(outbox_message__in=ended).exclude(route="")
    attempts = attempts.order_by("outbox_message_id", "-created_at")
    attempts = attempts.distinct("outbox_message_id")
    return {row.outbox_message_id: attempt_words(row) for row in attempts if row.outbox_message_id}


def _digest(lines: Sequence[Line]) -> str:
    """Changes with everything that the list shows of its messages."""
    shown = [
        (line.message.pk, line.message.state, line.message.last_reply, line.route)
        + (line.stopped and (line.stopped.pk, line.stopped.has_password),)
        + ((line.message.next_attempt_at,) if line.message.can_be_discarded else ())
        for line in lines
    ]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _try_again(request: SignedInRequest) -> HttpResponse:
    try:
        number = UUID(request.POST.get("retry", ""))
    except ValueError as error:
        raise BadRequest("None of the list's actions.") from error
    message = own_message(request, number)
    if _lines(request, [message])[0].stopped:  # stopped since the page was shown
        messages.warning(request, _("It waits for a password that works: enter one first."))
    elif retry_now(actor=actor_of(request), message=message):
        messages.success(request, _("It is tried again now."))
    else:
        _tell_it_is_late(request)
    return redirect("delivery:outgoing")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def discard_message(request: SignedInRequest, number: UUID) -> HttpResponse:
    """Ask, then send it to nobody."""
    message = own_message(request, number)
    if request.method != "POST":
        return render(request, "delivery/discard.html", {"message": message})
    end = discard_failed if message.state == OutboxMessage.State.FAILED else discard
    if end(actor=actor_of(request), message=message):
        messages.success(request, _("The message is discarded. Nobody got it."))
    else:
        _tell_it_is_late(request)
    return redirect("delivery:outgoing")


def _tell_it_is_late(request: SignedInRequest) -> None:
    messages.warning(
        request, _("It is being sent at this moment, or has ended: its line below says which.")
    )

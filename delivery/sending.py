"""Sending what somebody wrote on a page: decide, count its recipients, store it in the outbox."""

from typing import NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.audit import Actor
from delivery.explain import RouteWords, route_words
from delivery.letters import Letter, write_content, write_header
from delivery.limit_reports import record_limit_reached
from delivery.limits import Allowance, Answer, Taken, allowance_of, excess_of
from delivery.models import OutboxMessage, RecipientCount
from delivery.outbox import Draft, discard_failed, store_message
from delivery.refusal_words import excess_words, refusal_words
from delivery.routing import Refusal, Route, RouteKind, decide
from delivery.sealing import ContentError
from delivery.services import load_account, load_settings
from sendas.services.addresses import ListedAddress, list_addresses
from smtp.header import HeaderError


class Sender(NamedTuple):
    """An address to write from, and how its mail goes at present: `route` in words, and as a badge.

    `refusal` says why nothing can be sent from it now, "" where it can.
    """

    listed: ListedAddress
    route: str
    badge: RouteWords
    refusal: str


def senders_of(user: User) -> list[Sender]:
    """The account's addresses in the order of its list, in a fixed number of queries."""
    account, settings = load_account(user), load_settings(user)
    senders = []
    for listed in list_addresses(user):
        answer = decide(account, listed.address, settings)
        badge = route_words(account, listed.address, answer)
        refusal = ""
        if isinstance(answer, Refusal) and not answer.may_wait:
            refusal = refusal_words(answer, listed.address, account.outside.get(listed.address))
        senders.append(Sender(listed, _in_words(answer), badge, refusal))
    return senders


def _in_words(answer: Route | Refusal) -> str:
    if isinstance(answer, Refusal):
        return _("held until its server works again")
    if answer.kind == RouteKind.GATEWAY:
        return _("through %(host)s") % {"host": answer.server.host}
    if answer.sender:
        return _("by our servers, on behalf of %(address)s") % {"address": answer.sender}
    return _("by our servers")


class NotKeptError(Exception):
    """The failed message was discarded, or sent again, meanwhile."""


def send_letter(
    *, user: User, letter: Letter, number: UUID, failed: OutboxMessage | None = None
) -> None:
    """Store it: from then on it is ours. Under the same number it is stored once.

    `failed` is the message that it takes the place of: discarded in the same transaction.
    Raises ValidationError or NotKeptError where it can't be sent; then nothing is kept of it.
    """
    stored = OutboxMessage.objects.filter(pk=number, account=user)
    if stored.exists():
        return
    account, address, settings = load_account(user), letter.sender.address, load_settings(user)
    answer = decide(account, address, settings)
    if isinstance(answer, Refusal) and not answer.may_wait:
        raise ValidationError(refusal_words(answer, address, account.outside.get(address)))
    try:
        header = write_header(letter, str(number))
    except HeaderError as error:
        raise ValidationError(
            _("Subject and addresses are too long together: shorten them.")
        ) from error
    draft = Draft(
        source=OutboxMessage.Source.COMPOSE,
        user_id=user.pk,
        account_address=user.primary_address,
        from_address=letter.sender.address,
        recipients=letter.recipients,
        message_id=header.message_id or "",
        needs_smtputf8=letter.needs_smtputf8,
    )
    taken = _count(user, len(draft.recipients), allowance_of(settings.guardrails))
    try:
        with transaction.atomic():
            store_message(draft, write_content(header, letter), number)
            if failed and not discard_failed(
                actor=Actor(user), message=failed, sent_again_as=number
            ):
                raise NotKeptError
    except BaseException as error:
        _give_back(taken)
        # A second click in the same moment was faster.
        if isinstance(error, IntegrityError | ContentError | NotKeptError) and stored.exists():
            return
        if failed and isinstance(error, ContentError):
            raise NotKeptError from error
        raise


def _count(user: User, recipients: int, allowance: Allowance) -> Taken:
    """Count them before anything is stored (delivery/limits.py), or raise ValidationError."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM take_recipients(%s, %s, %s, %s)",
            [user.pk, recipients, allowance.per_hour, allowance.per_day],
        )
        answer = Answer(*cursor.fetchone())
    if answer.taken_in:
        return Taken(user.pk, recipients, answer.taken_in)
    excess = excess_of(answer, recipients, allowance)
    record_limit_reached(account_id=user.pk, window=excess.window, limit=excess.limit)
    raise ValidationError(excess_words(excess))


def _give_back(taken: Taken) -> None:
    counted = RecipientCount.objects.filter(account_id=taken.account_id, bucket=taken.bucket)
    counted.update(recipients=F("recipients") - taken.recipients)

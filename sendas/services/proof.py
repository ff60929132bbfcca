"""Proof that an address is its owner's: a link or a code, sent to that address."""

import secrets
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.audit import Actor
from accounts.services.mails import send_mail
from accounts.services.rights import demand_owner
from sendas.models import CODE_TRIES, OwnershipProof, SendAs, VerificationMail
from sendas.services.bounces import note_gone_recipient, recipient_is_gone
from sendas.services.events import record_address_event
from smtp.reply import ReplyError, ReplyParser

LINK_VALID = timedelta(hours=24)
CODE_VALID = timedelta(minutes=15)
CODE_DIGITS = 8
RESEND_AFTER = timedelta(seconds=60)
LIMIT_LOCK = 7_216_003  # any number of our own: it leads the pair that locks an address
# (how many, within, counted by): over all users for an address, over all addresses for a user.
ADDRESS_LIMITS = ((3, timedelta(hours=1)), (5, timedelta(days=1)))
USER_LIMIT = (20, timedelta(days=1))


def send_proof(send_as: SendAs) -> None:
    """Mail a new link and code to the address; the ones before are void.

    Raise ValidationError where a limit is reached, or the mail could not be handed over.
    """
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    token = secrets.token_urlsafe(16)  # 128 bits
    with transaction.atomic():
        _lock_limits(send_as)
        row = SendAs.objects.select_for_update(no_key=True).filter(pk=send_as.pk).first()
        if row is None or not row.wants_proof:
            raise ValidationError(_("This address is verified already, or was deleted."))
        _check_limits(send_as)
        VerificationMail.objects.create(address=send_as.send_as_email, user=send_as.user)
        send_as.proofs.all().delete()
        proof = OwnershipProof.objects.create(
            send_as=send_as,
            link_digest=_digest(token),
            code_digest=_digest(code, send_as),
            sent_at=Now(),
            code_valid_until=Now() + CODE_VALID,
            link_valid_until=Now() + LINK_VALID,
        )
    try:
        _mail(send_as, code, token)
    except (OSError, SMTPException) as error:
        proof.delete()  # nobody has its code
        if isinstance(error, SMTPRecipientsRefused):
            _note_refused(error)
        raise ValidationError(_why_it_did_not_leave(error)) from error


def confirm_code(*, actor: Actor, send_as: SendAs, code: str) -> None:
    """Raise ValidationError for a wrong, used, expired or too often tried code.

    Raise PermissionDenied for everybody but the account in whose list the address stands.
    """
    demand_owner(actor, send_as.user)
    proof = OwnershipProof.objects.filter(send_as=send_as).first()
    # Counting before comparing: of many guesses at once only CODE_TRIES are looked at. The count
    # is on the very proof that was read, for a new mail may replace it at any moment.
    if proof is None or not _count_try(proof):
        raise ValidationError(
            _("This code can't be used any more. Have a new one sent, then type that one.")
        )
    if not constant_time_compare(proof.code_digest, _digest("".join(code.split()), send_as)):
        raise ValidationError(_("That is not the code. Compare it with the newest mail from us."))
    _accept(actor, proof)


def _count_try(proof: OwnershipProof) -> bool:
    return bool(
        OwnershipProof.objects.filter(
            pk=proof.pk, used_at=None, attempts__lt=CODE_TRIES, code_valid_until__gt=Now()
        ).update(attempts=F("attempts") + 1)
    )


def find_link(user: User, token: str) -> OwnershipProof | None:
    """The proof that a link stands for, while it can be used and if it is this user's."""
    return (
        OwnershipProof.objects.select_related("send_as__user")
        .filter(
            send_as__user=user,
            link_digest=_digest(token),
            used_at=None,
            link_valid_until__gt=Now(),
        )
        .first()
    )


def confirm_link(*, actor: Actor, proof: OwnershipProof) -> None:
    """Raise ValidationError for a link used meanwhile, PermissionDenied as `confirm_code`."""
    demand_owner(actor, proof.send_as.user)
    _accept(actor, proof)


def _accept(actor: Actor, proof: OwnershipProof) -> None:
    """Use the proof up and accept the address, both or neither."""
    with transaction.atomic():
        send_as = SendAs.objects.select_for_update().filter(pk=proof.send_as_id).first()
        used = OwnershipProof.objects.filter(pk=proof.pk, used_at=None).update(used_at=Now())
        if send_as is None or not used:
            raise ValidationError(_("This code or link was used already. Have a new one sent."))
        SendAs.objects.filter(pk=send_as.pk).update(
            verification_status=SendAs.VerificationStatus.ACCEPTED,
            verified_at=Now(),
            asked_at=None,
            ask_reason="",
            proof_due_at=None,
            suspended_at=None,
        )
        record_address_event(actor, "send_as_verified", send_as.send_as_email, send_as.user)


def _digest(secret: str, send_as: SendAs | None = None) -> str:
    """Keyed, for a code of eight digits could be tried through; a code is bound to its address."""
    bound = f"{send_as.pk}:{send_as.send_as_email}:" if send_as else ""
    return salted_hmac("sendas.proof", bound + secret, algorithm="sha256").hexdigest()


def _note_refused(error: SMTPRecipientsRefused) -> None:
    """What our relay said of the address, in whichever spelling it was written to."""
    for address, (code, text) in error.recipients.items():
        lines = text.splitlines() or [b""]
        wire = b"".join(b"%d-%s\r\n" % (code, line) for line in lines[:-1])
        try:
            [reply] = ReplyParser().feed(wire + b"%d %s\r\n" % (code, lines[-1]))
        except ReplyError:
            continue  # whatever that is, it does not say so
        if recipient_is_gone(reply):
            note_gone_recipient(address)


def _why_it_did_not_leave(error: Exception) -> str:
    if isinstance(error, SMTPRecipientsRefused):
        return _(
            "The address is kept, but the mail with the code did not leave: our mail server takes "
            "no mail for it. Check its spelling."
        )
    return _(
        "The address is kept, but the mail with the code did not leave: our mail server can't be "
        "reached. Send it again in a minute."
    )


def _lock_limits(send_as: SendAs) -> None:
    """Let requests at once count each other's mail: by one account, or to one address."""
    User.objects.select_for_update(no_key=True).get(pk=send_as.user_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LIMIT_LOCK, send_as.send_as_email]
        )


def _check_limits(send_as: SendAs) -> None:
    to_address = VerificationMail.objects.filter(address=send_as.send_as_email)
    if to_address.filter(user=send_as.user, sent_at__gt=Now() - RESEND_AFTER).exists():
        raise ValidationError(
            _(
                "The address is kept, but no mail with a code left: one went to it less than a "
                "minute ago. Wait a minute, then have another sent."
            )
        )
    by_user = VerificationMail.objects.filter(user=send_as.user)
    for mails, number, within in (
        *((to_address, *limit) for limit in ADDRESS_LIMITS),
        (by_user, *USER_LIMIT),
    ):
        if mails.filter(sent_at__gt=Now() - within).count() >= number:
            raise ValidationError(
                _(
                    "The address is kept, but enough mails with codes went out for now. Use the "
                    "newest one you have, or have another sent tomorrow."
                )
            )


def _mail(send_as: SendAs, code: str, token: str) -> None:
    context = {
        "send_as": send_as,
        "user": send_as.user,
        "code": f"{code[:4]} {code[4:]}",
        "link": settings.BASE_URL + reverse("sendas:confirm", args=[token]),
    }
    send_mail(
        "sendas/mail/ownership",
        to=[send_as.send_as_email],
        reader=send_as.user,
        context=context,
    )

"""The circuit breaker of a stored password: who may try it, and what a refusal ends.

A server that sees one wrong password after the other bans the address that they come from, and
with it everybody's mail. So a password that may have become wrong is tried by one process at a
time, and a refused one by nobody, unless its owner asks for one more attempt.
"""

from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from accounts.services.audit import Actor
from accounts.services.rights import demand_owner
from sendas.models import OwnerNotice, SendAs, SmtpMsa
from sendas.services.addresses import gateway_password, set_gateway
from sendas.services.connection import GatewaySettings
from sendas.services.outcomes import ConnectionTestError
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.target import Credential

CLAIM_SECONDS = 15  # unless it is renewed meanwhile: then whoever had it is dead


def load_usable_credential(credential_id: UUID) -> Credential:
    """User name and password of a gateway, unless they are known not to work.

    Raises SmtpFailure for that; SmtpMsa.DoesNotExist, CredentialError.
    """
    msa = SmtpMsa.objects.get(credential_id=credential_id)
    if not msa.works:
        raise SmtpFailure(FailureKind.AUTH_REFUSED, Step.AUTH, permanent=True)
    return Credential(msa.username, gateway_password(msa))


def claim_credential(credential_id: UUID) -> Credential | None:
    """The same, to be tried by the caller alone; None while somebody else tries it.

    To be renewed within CLAIM_SECONDS by `renew_claim`, and to be ended by `note_sign_in`,
    `release_claim` or `record_refusal`.
    """
    credential = load_usable_credential(credential_id)
    free = SmtpMsa.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lt=Now()),
        credential_id=credential_id,
        refused_at=None,
        wiped_at=None,
    )
    claimed = free.update(claimed_until=Now() + timedelta(seconds=CLAIM_SECONDS))
    return credential if claimed else None


def renew_claim(credential_id: UUID) -> None:
    """The attempt is still under way; one that has ended stays ended."""
    SmtpMsa.objects.filter(credential_id=credential_id, claimed_until__isnull=False).update(
        claimed_until=Now() + timedelta(seconds=CLAIM_SECONDS)
    )


def note_sign_in(credential_id: UUID) -> None:
    """The server took the password."""
    SmtpMsa.objects.filter(credential_id=credential_id).update(
        claimed_until=None, signed_in_at=Now(), check_failure="", failing_since=None
    )


def release_claim(credential_id: UUID) -> None:
    """Nothing was learnt of the password."""
    SmtpMsa.objects.filter(credential_id=credential_id).update(claimed_until=None)


def record_refusal(*, credential_id: UUID, reply: str) -> bool:
    """The server refused the password: it is not tried again until its owner has mended it.

    The owner hears of it once. False where that was known, or there is another password by now.
    """
    with transaction.atomic():
        known = SmtpMsa.objects.filter(credential_id=credential_id, refused_at=None)
        if not known.update(refused_at=Now(), refusal=reply[:500], claimed_until=None):
            return False
        send_as = SendAs.objects.get(smtp_msa__credential_id=credential_id)
        OwnerNotice.objects.create(
            user_id=send_as.user_id, send_as=send_as, kind=OwnerNotice.Kind.PASSWORD_REFUSED
        )
    return True


def try_stored_password(*, actor: Actor, send_as: SendAs) -> None:
    """Test the stored password once more, though its server may have refused it.

    A good test closes the breaker. Raise ValidationError or ConnectionTestError.
    """
    demand_owner(actor, send_as.user)
    msa = SmtpMsa.objects.get(send_as=send_as)
    stored = GatewaySettings(msa.host, msa.port, msa.security_mode, msa.username, password="")
    if msa.has_password and not _claim_even_refused(msa.credential_id):
        raise ValidationError(
            _("The password is being tried at this moment. Look again in a minute.")
        )
    try:
        set_gateway(actor=actor, send_as=send_as, gateway=stored)
    except ConnectionTestError as error:
        if error.is_refusal and not record_refusal(
            credential_id=msa.credential_id, reply=error.reply
        ):
            SmtpMsa.objects.filter(credential_id=msa.credential_id).update(
                refusal=error.reply[:500]
            )
        raise
    finally:
        # Where the test was good, the password has another id by now, and no claim.
        release_claim(msa.credential_id)


def _claim_even_refused(credential_id: UUID) -> bool:
    free = SmtpMsa.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lt=Now()),
        credential_id=credential_id,
        wiped_at=None,
    )
    return bool(free.update(claimed_until=Now() + timedelta(seconds=CLAIM_SECONDS)))

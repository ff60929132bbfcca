"""An administrator looks at an address's own server before it is used."""

import logging
from smtplib import SMTPException
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import Privilege
from accounts.services.audit import Actor
from accounts.services.mails import send_mail
from accounts.services.rights import demand_privilege
from sendas.models import Approval, SmtpMsa
from sendas.services.events import record_address_event

logger = logging.getLogger(__name__)


def unapproved_gateways() -> QuerySet[SmtpMsa]:
    """Those that wait or were refused, the longest first, with address, account and unit."""
    rows = SmtpMsa.objects.filter(approval__in=[Approval.WAITING, Approval.REFUSED])
    return rows.select_related("send_as__user__unit").order_by("approval_since", "pk")


def approve_gateway(*, actor: Actor, msa_id: int, credential_id: UUID, reason: str = "") -> bool:
    """Let it be used; returns whether the person could be told by mail.

    `credential_id` is the one that the administrator saw: a server that its owner has changed
    meanwhile is another. Raises ValidationError then, and PermissionDenied.
    """
    return _judge(actor, msa_id, credential_id, Approval.APPROVED, reason)


def refuse_gateway(*, actor: Actor, msa_id: int, credential_id: UUID, reason: str) -> bool:
    """The same, the other way; the person reads the reason."""
    if not reason:
        raise ValidationError(
            {"reason": _("Say why: the person reads it, and knows what to do then.")}
        )
    return _judge(actor, msa_id, credential_id, Approval.REFUSED, reason)


def _judge(actor: Actor, msa_id: int, credential_id: UUID, approval: Approval, reason: str) -> bool:
    with transaction.atomic():
        rows = SmtpMsa.objects.select_related("send_as__user__unit")
        msa = rows.select_for_update(of=("self",)).filter(pk=msa_id).first()
        if msa is None or msa.credential_id != credential_id:
            raise ValidationError(
                _("Its owner changed or removed this server meanwhile. Nothing was decided.")
            )
        user = msa.send_as.user
        demand_privilege(actor, user.unit, Privilege.MAIL_SETTINGS)
        if msa.approval == approval:
            return True  # a second click
        msa.approval, msa.approval_reason = approval, reason
        SmtpMsa.objects.filter(pk=msa.pk).update(
            approval=approval, approval_reason=reason, approval_since=Now()
        )
        record_address_event(
            actor,
            f"gateway_{approval}",
            msa.send_as.send_as_email,
            user,
            host=msa.host,
            port=msa.port,
            reason=reason,
        )
    return _tell(msa)


def _tell(msa: SmtpMsa) -> bool:
    user = msa.send_as.user
    context = {
        "msa": msa,
        "send_as": msa.send_as,
        "user": user,
        "is_approved": msa.approval == Approval.APPROVED,
        "link": settings.BASE_URL + reverse("sendas:list"),
    }
    try:
        send_mail("sendas/mail/approval", to=[user.primary_address], reader=user, context=context)
    except (OSError, SMTPException) as error:
        logger.warning("A decision about a gateway was not mailed: %s", type(error).__name__)
        return False
    return True

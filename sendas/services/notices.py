"""Mails of ours about an address: to the address itself, or to the account that has it."""

import logging
from datetime import timedelta
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.services.people import own_addresses
from sendas.models import OwnerNotice, SendAs, SmtpMsa

logger = logging.getLogger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=5)


def mail(name: str, to: str, context: dict[str, Any]) -> None:
    """Send the mail of that name, in the language of its `user`. Raises OSError, SMTPException."""
    with context["user"].reads():
        subject, text, html = (
            render_to_string(f"sendas/mail/{name}-{part}", context)
            for part in ("subject.txt", "body-text.txt", "body-html.html")
        )
    message = EmailMultiAlternatives(
        subject.strip(),
        text,
        to=[to],
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no vacation notes, no loops
    )
    message.attach_alternative(html, "text/html")
    message.send()


def mail_notice(notice_id: int) -> None:
    """Send the notice, unless that was done, is being done, or has no sense any more.

    1. Claim it: for a while it is not due, whatever becomes of us.
    2. Send the mail, outside any transaction.
    3. Delete it. Killed in between, it is sent once more: too often rather than never.
    """
    claimed = OwnerNotice.objects.due().filter(pk=notice_id)
    if not claimed.update(next_try_at=Now() + TRY_AGAIN_AFTER):
        return
    notice = OwnerNotice.objects.select_related("user", "send_as").get(pk=notice_id)
    if _is_news(notice):
        try:
            _mail(notice)
        except (OSError, SMTPException) as error:
            logger.warning("A notice did not leave, tried again soon: %s", type(error).__name__)
            return
    notice.delete()


def _is_news(notice: OwnerNotice) -> bool:
    """Not where it was mended meanwhile, or the address became an alias, which needs no proof."""
    if notice.send_as is None:
        return bool(_wiped_addresses(notice))
    if notice.kind == OwnerNotice.Kind.PASSWORD_REFUSED:
        return SmtpMsa.objects.filter(send_as=notice.send_as, refused_at__isnull=False).exists()
    wanted = {
        OwnerNotice.Kind.PROVE_AGAIN: not notice.send_as.is_suspended,
        OwnerNotice.Kind.ADDRESS_SUSPENDED: notice.send_as.is_suspended,
    }[OwnerNotice.Kind(notice.kind)]
    is_own = notice.send_as.send_as_email in own_addresses(notice.user)
    return wanted and notice.send_as.is_asked_again and not is_own


def _wiped_addresses(notice: OwnerNotice) -> list[SendAs]:
    at_host = notice.user.send_as.filter(smtp_msa__host=notice.host)
    return list(at_host.filter(smtp_msa__wiped_at__isnull=False))


def _mail(notice: OwnerNotice) -> None:
    link = settings.BASE_URL + reverse("sendas:list")
    context: dict[str, Any] = {"user": notice.user, "link": link}
    if notice.send_as:
        context |= {
            "send_as": notice.send_as,
            "link": f"{link}#address-{notice.send_as.pk}",
        }
    else:
        context |= {"host": notice.host, "addresses": _wiped_addresses(notice)}
    mail(notice.kind, notice.user.primary_address, context)

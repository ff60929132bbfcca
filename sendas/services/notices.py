"""Mails to accounts about their addresses."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from accounts.services.mails import mail_due, send_mail
from accounts.services.people import own_addresses
from sendas.models import OwnerNotice, SendAs, SmtpMsa


def mail_notice(notice_id: int) -> None:
    """Send the notice, unless that was done, is being done, or has no sense any more."""
    if mail_due(OwnerNotice.objects.due(), notice_id, _mail):
        OwnerNotice.objects.filter(pk=notice_id).delete()


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
    if not _is_news(notice):
        return
    link = settings.BASE_URL + reverse("sendas:list")
    context: dict[str, Any] = {"user": notice.user, "link": link}
    if notice.send_as:
        context |= {
            "send_as": notice.send_as,
            "link": f"{link}#address-{notice.send_as.pk}",
        }
    else:
        context |= {"host": notice.host, "addresses": _wiped_addresses(notice)}
    user = notice.user
    name = f"sendas/mail/{notice.kind}"
    send_mail(name, to=[user.primary_address], reader=user, context=context)

"""Telling super administrators that an account reached its limit of recipients, once a day each."""

import logging
from datetime import timedelta
from smtplib import SMTPException
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from accounts.services.administrator_mail import mail_super_administrators
from accounts.services.audit import SYSTEM, record_event
from delivery.models import LimitReport

logger = logging.getLogger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=5)


def record_limit_reached(*, account_id: UUID, window: LimitReport.Window, limit: int) -> None:
    """Leave word for the administrators and the audit, the first time on a day."""
    with transaction.atomic():
        report, is_new = LimitReport.objects.get_or_create(
            account_id=account_id,
            day=timezone.now().date(),
            defaults={"window": window, "limit": limit},
        )
        if is_new:
            record_event(
                SYSTEM,
                "recipient_limit_reached",
                report.account.primary_address,
                unit=report.account.unit,
                limit=limit,
                window=window,
            )


def mail_report(report_id: int) -> None:
    """Send one mail for the report, unless that was done or is being done.

    1. Claim it: for a while it is not due, whatever becomes of us.
    2. Send the mail, outside any transaction.
    3. Note that. Killed in between, it is sent once more: too often rather than never.
    """
    claimed = LimitReport.objects.due().filter(pk=report_id)
    if not claimed.update(next_try_at=Now() + TRY_AGAIN_AFTER):
        return
    try:
        _mail(LimitReport.objects.select_related("account").get(pk=report_id))
    except (OSError, SMTPException) as error:
        logger.warning("A limit report did not leave, tried again soon: %s", type(error).__name__)
        return
    LimitReport.objects.filter(pk=report_id).update(mailed_at=Now())


def _mail(report: LimitReport) -> None:
    account = report.account
    context = {
        "report": report,
        "account": account,
        "link": settings.BASE_URL + reverse("admin:accounts_user_change", args=[account.pk]),
    }
    mail_super_administrators("delivery/mail/limit", context)

"""Telling super administrators that an account reached its limit of recipients, once a day each."""

from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from accounts.services.administrator_mail import mail_super_administrators
from accounts.services.audit import SYSTEM, record_event
from accounts.services.mails import mail_due
from delivery.models import LimitReport


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
    """Send one mail about it, unless that was done or is being done."""
    if mail_due(LimitReport.objects.due(), report_id, _mail):
        LimitReport.objects.filter(pk=report_id).update(mailed_at=Now())


def _mail(report: LimitReport) -> None:
    account = report.account
    context = {
        "report": report,
        "account": account,
        "link": settings.BASE_URL + reverse("admin:accounts_user_change", args=[account.pk]),
    }
    mail_super_administrators("delivery/mail/limit", context)

"""Telling administrators that an account reached its limit of recipients, once a day each.

Super administrators, and those of the account's unit and above with the privilege *users*: to ask
the person, or to shut the account, is their business. Mail settings say only how high a limit is.
"""

from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from accounts.models import Privilege
from accounts.services.administrator_mail import mail_administrators
from accounts.services.audit import SYSTEM, record_event
from accounts.services.mails import mail_due
from accounts.services.roles import administrators_of, super_administrators
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
        "link": settings.BASE_URL + reverse("console:account", args=[account.pk]),
    }
    mail_administrators(
        "delivery/mail/limit",
        (super_administrators(), context),
        (administrators_of(account, Privilege.USERS), context | {"is_delegated": True}),
    )

"""Telling super administrators that an account reached its limit of recipients, once a day each."""

import logging
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from smtplib import SMTPException
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.services.audit import SYSTEM, record_event
from accounts.services.roles import super_administrators
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
    by_language = sorted(super_administrators(), key=attrgetter("language"))
    for _language, readers in groupby(by_language, key=attrgetter("language")):
        _mail_to(list(readers), context)


def _mail_to(readers: list[User], context: dict[str, Any]) -> None:
    """One mail to those who read one language."""
    with readers[0].reads():
        subject, text, html = (
            render_to_string(f"delivery/mail/limit-{part}", context)
            for part in ("subject.txt", "body-text.txt", "body-html.html")
        )
    message = EmailMultiAlternatives(
        subject.strip(),
        text,
        to=[reader.primary_address for reader in readers],
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no vacation notes, no loops
    )
    message.attach_alternative(html, "text/html")
    message.send()

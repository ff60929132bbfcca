"""Mails of ours: written from three templates in their reader's language, sent once for a row."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from smtplib import SMTPException
from typing import Any, TypeVar
from uuid import UUID

from django.core.mail import EmailMultiAlternatives
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.template.loader import render_to_string

from accounts.models import User

logger = logging.getLogger(__name__)

TRY_AGAIN_AFTER = timedelta(minutes=5)
Row = TypeVar("Row", bound=Model)


def send_mail(name: str, *, to: Sequence[str], reader: User, context: Mapping[str, Any]) -> None:
    """By the templates `name`-subject.txt, -body-text.txt and -body-html.html, outside a
    transaction. Raises OSError, smtplib.SMTPException."""
    with reader.reads():
        subject, text, html = (
            render_to_string(f"{name}-{part}", dict(context))
            for part in ("subject.txt", "body-text.txt", "body-html.html")
        )
    message = EmailMultiAlternatives(
        subject.strip(),
        text,
        to=list(to),
        headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no vacation notes, no loops
    )
    message.attach_alternative(html, "text/html")
    message.send()


def mail_due(due: QuerySet[Row], pk: int | UUID, mail: Callable[[Row], None]) -> bool:
    """Call `mail` with that row of `due`, unless that was done or is being done; whether it left.

    1. Claim it: by its `next_try_at` it is not due for a while, whatever becomes of us.
    2. Send the mail, outside any transaction.
    3. The caller notes that. Killed in between, it is sent once more: too often rather than never.
    """
    if not due.filter(pk=pk).update(next_try_at=Now() + TRY_AGAIN_AFTER):
        return False
    try:
        mail(due.model._default_manager.get(pk=pk))
    except (OSError, SMTPException) as error:
        name = due.model.__name__
        logger.warning("The mail of a %s did not leave: %s", name, type(error).__name__)
        return False
    return True

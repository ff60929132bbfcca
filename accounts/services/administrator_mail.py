"""Mail to all super administrators, each in a language that is read."""

from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from accounts.models import User
from accounts.services.roles import super_administrators


def mail_super_administrators(name: str, context: Mapping[str, Any]) -> None:
    """By the templates `name`-subject.txt, -body-text.txt and -body-html.html, outside a
    transaction. Raises OSError, smtplib.SMTPException."""
    by_language = sorted(super_administrators(), key=attrgetter("language"))
    for _language, readers in groupby(by_language, key=attrgetter("language")):
        _mail(list(readers), name, context)


def _mail(readers: list[User], name: str, context: Mapping[str, Any]) -> None:
    """One mail to those who read one language."""
    with readers[0].reads():
        subject, text, html = (
            render_to_string(f"{name}-{part}", dict(context))
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

"""Mail to administrators, each in a language that is read."""

import logging
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from smtplib import SMTPException
from typing import Any

from accounts.models import User
from accounts.services.mails import send_mail
from accounts.services.roles import super_administrators

logger = logging.getLogger(__name__)


def mail_administrators(name: str, *told: tuple[Iterable[User], Mapping[str, Any]]) -> None:
    """As send_mail: one mail to those who read one language, for each group and its context.

    Where some leave and others don't, that is the end of it: those who have theirs would get it
    again and again. Raises OSError or SMTPException where none left.
    """
    fault: OSError | SMTPException | None = None
    sent = 0
    for readers, context in told:
        by_language = sorted(readers, key=attrgetter("language"))
        for _language, group in groupby(by_language, key=attrgetter("language")):
            those = list(group)
            to = [reader.primary_address for reader in those]
            try:
                send_mail(name, to=to, reader=those[0], context=context)
            except (OSError, SMTPException) as error:
                fault = error
                logger.warning("%s to %d did not leave: %s", name, len(to), type(error).__name__)
            else:
                sent += 1
    if fault and not sent:
        raise fault


def mail_super_administrators(name: str, context: Mapping[str, Any]) -> None:
    mail_administrators(name, (super_administrators(), context))

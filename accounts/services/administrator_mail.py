"""Mail to administrators, each in a language that is read."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from accounts.models import User
from accounts.services.mails import send_mail
from accounts.services.roles import super_administrators


def mail_administrators(name: str, readers: Iterable[User], context: Mapping[str, Any]) -> None:
    """As send_mail: one mail to those who read one language."""
    by_language = sorted(readers, key=attrgetter("language"))
    for _language, group in groupby(by_language, key=attrgetter("language")):
        those = list(group)
        to = [reader.primary_address for reader in those]
        send_mail(name, to=to, reader=those[0], context=context)


def mail_super_administrators(name: str, context: Mapping[str, Any]) -> None:
    mail_administrators(name, super_administrators(), context)

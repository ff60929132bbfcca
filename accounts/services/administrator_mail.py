"""Mail to all super administrators, each in a language that is read."""

from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from accounts.services.mails import send_mail
from accounts.services.roles import super_administrators


def mail_super_administrators(name: str, context: Mapping[str, Any]) -> None:
    """As send_mail: one mail to those who read one language."""
    by_language = sorted(super_administrators(), key=attrgetter("language"))
    for _language, group in groupby(by_language, key=attrgetter("language")):
        readers = list(group)
        to = [reader.primary_address for reader in readers]
        send_mail(name, to=to, reader=readers[0], context=context)

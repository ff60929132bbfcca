from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts.services.administrators import Made, make_super_administrator
from accounts.services.new_accounts import DAY, password_link


class Command(BaseCommand):
    help = (
        "Make an account a super administrator, and print a link to choose its password by. What "
        "is missing of domain, topmost unit and account is made too. It can be run again at any "
        "time: for a new link, or for one more administrator."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", help="the account's primary address")
        parser.add_argument(
            "--name", default="", help="the person's name; needed where the account is new"
        )

    def handle(self, *, address: str, name: str, **_options: Any) -> None:
        try:
            made = make_super_administrator(address=address, name=name)
        except ValidationError as refusal:
            raise CommandError(f"{address}: {' '.join(refusal.messages)}") from refusal
        self.stdout.write(_told(made))
        self.stdout.write(
            "Choose a password here. Whoever has this link can: it works once, within "
            f"{settings.PASSWORD_RESET_TIMEOUT // DAY} days.\n{password_link(made.user)}"
        )


def _told(made: Made) -> str:
    address = made.user.primary_address
    if made.is_new:
        return f"{address} is a new account, and a super administrator."
    if made.was_super_admin:
        return f"{address} is a super administrator already."
    return f"{address} is a super administrator now."

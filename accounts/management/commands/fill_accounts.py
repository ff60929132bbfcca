import time
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts.services.fill import fill_accounts, is_empty

MOST_UNITS = 200_000


class Command(BaseCommand):
    help = "Fill an empty database with made-up units and accounts, to try things at scale."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--accounts", type=int, default=1_000_000)
        parser.add_argument("--units", type=int, default=2_000)
        parser.add_argument(
            "--beside-real-accounts",
            action="store_true",
            help="also where the database holds accounts; they stay, the made-up ones too",
        )

    def handle(self, *, accounts: int, units: int, **options: Any) -> None:
        if accounts < 1 or not 1 <= units <= MOST_UNITS:
            raise CommandError(
                f"Name at least one account, and between one and {MOST_UNITS:,} units."
            )
        if not is_empty() and not options["beside_real_accounts"]:
            raise CommandError(
                "This database holds accounts, and made-up ones can't be taken out again. Take an "
                "empty database, or add --beside-real-accounts."
            )
        started = time.monotonic()
        try:
            fill_accounts(accounts=accounts, units=units, report=self._told(accounts))
        except ValidationError as refusal:
            raise CommandError(refusal.messages[0]) from refusal
        seconds = time.monotonic() - started
        self.stdout.write(f"{accounts:,} accounts in {units:,} units after {seconds:.1f} s.")

    def _told(self, accounts: int) -> Any:
        def tell(done: int) -> None:
            self.stdout.write(f"{done:,} of {accounts:,} accounts")
            self.stdout.flush()

        return tell

from argparse import ArgumentParser
from itertools import groupby
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from accounts.services.directory_file import FileError, read_file
from accounts.services.directory_import import (
    ImportRefusedError,
    Step,
    Wanted,
    count_steps,
    import_directory,
)


class Command(BaseCommand):
    help = (
        "Bring units, accounts and aliases to what a CSV file says, with the columns "
        "primary_address, name, unit, aliases and suspended (docs/operations.md). All is checked "
        "first, and done at once or not at all. With the same file again, nothing changes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--domain",
            action="append",
            default=[],
            metavar="NAME",
            dest="domains",
            help="one of your domains: made where it is not there yet; more than once",
        )
        parser.add_argument(
            "--suspend-missing",
            action="store_true",
            help="suspend the accounts that are not in the file",
        )
        parser.add_argument(
            "--suspend-at-most",
            type=int,
            metavar="N",
            help="change nothing where more than N accounts would be suspended",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would change, and change nothing"
        )

    def handle(self, *, file: Path, dry_run: bool, **options: Any) -> None:
        try:
            rows, problems = read_file(Path(file))
            wanted = Wanted(
                rows,
                problems,
                options["domains"],
                options["suspend_missing"],
                options["suspend_at_most"],
            )
            steps = import_directory(wanted, dry_run=dry_run)
        except FileError as error:
            raise CommandError(str(error)) from error
        except ImportRefusedError as refused:
            lines = [*map(str, refused.problems), "Nothing was changed."]
            raise CommandError("\n".join(lines)) from refused
        except ValidationError as refusal:
            # Of a service, where it judges stricter than what was checked before.
            told = " ".join(refusal.messages)
            raise CommandError(f"{told}\nNothing was changed.") from refusal
        self._tell(steps, len(rows), dry_run=dry_run)

    def _tell(self, steps: list[Step], accounts: int, *, dry_run: bool) -> None:
        if not steps:
            self.stdout.write(
                f"Nothing to change: all is as the file says ({accounts:,} accounts)."
            )
            return
        counts = ", ".join(count_steps(steps))
        if not dry_run:
            self.stdout.write(f"{counts}.")
            return
        for kind, taken in groupby(steps, key=lambda step: step.kind):
            self.stdout.write(f"{kind}:")
            for step in taken:
                self.stdout.write(f"  {step.about}")
        self.stdout.write(f"Nothing was changed. Without --dry-run: {counts}.")

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sendas.credentials import current_key_id
from sendas.services.rotation import (
    Progress,
    count_on_old_keys,
    rotate_credentials,
    rotate_second_factors,
    second_factors_on_old_keys,
)


class Command(BaseCommand):
    help = (
        "Encrypt every stored SMTP password and second factor with the first key of "
        "OUTGATE_CREDENTIAL_KEYS."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        expected = count_on_old_keys()
        progress = Progress()
        for progress in rotate_credentials():
            self.stdout.write(f"{progress.rotated} of {expected}")
        factors = rotate_second_factors()
        if factors.unreadable:
            raise CommandError(
                f"{factors.unreadable} second factors can't be read: their key is not in "
                "OUTGATE_CREDENTIAL_KEYS any more. Put it back and run this again, or reset them."
            )
        if progress.unreadable:
            raise CommandError(
                f"{progress.unreadable} passwords can't be read: their key is not in "
                "OUTGATE_CREDENTIAL_KEYS any more. Put it back, and run this again."
            )
        if left := count_on_old_keys() + len(second_factors_on_old_keys()):
            raise CommandError(
                f"{left} secrets were stored under an old key meanwhile: some process still runs "
                "with the old OUTGATE_CREDENTIAL_KEYS. Restart it, and run this again."
            )
        self.stdout.write(f"All passwords are under the key {current_key_id()}.")

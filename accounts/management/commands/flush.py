from typing import Any

from django.core.management.commands.flush import Command as Flush

from accounts.owner import owner_role


class Command(Flush):
    """Django's flush, by the owner's role: the application's may not empty the audit."""

    def handle(self, **options: Any) -> None:
        with owner_role():
            super().handle(**options)

from typing import Any

from django.core.management.commands.migrate import Command as Migrate

from accounts.owner import grant_application, owner_role


class Command(Migrate):
    """Django's migrate, by the owner's role; afterwards the application's role gets its rights."""

    def handle(self, *args: Any, **options: Any) -> None:
        with owner_role() as application:
            super().handle(*args, **options)
            grant_application(application)

import ssl
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from submission.service import serve


class Command(BaseCommand):
    # Carrying mail must not depend on pages that can't be served.
    requires_system_checks = []
    help = "Run the SMTP submission service that mail programs talk to."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            uvloop.run(serve())
        except (OSError, ssl.SSLError) as error:
            # A taken port or a missing certificate: one line, not a traceback.
            raise CommandError(f"The submission service can't start: {error}") from None

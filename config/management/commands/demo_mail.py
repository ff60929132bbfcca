import asyncio
import os
from typing import Any

from django.core.management.base import BaseCommand

from config.demo_mail import serve_until_told
from config.installation import read_installation


class Command(BaseCommand):
    help = "Run the demo's two mail servers on loopback until SIGTERM; `manage.py up` does."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        asyncio.run(serve_until_told(read_installation(os.environ)))

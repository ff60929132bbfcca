import argparse
import os
import socket
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from submission.processes import keep_running


class Command(BaseCommand):
    # Carrying mail must not depend on pages that can't be served.
    requires_system_checks = []
    help = "Run the SMTP submission service that mail programs talk to."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--processes",
            type=_at_least_one,
            default=1,
            metavar="N",
            help="how many processes share the ports: as many as the machine has cores",
        )

    def handle(self, *_args: Any, processes: int, **_options: Any) -> None:
        try:
            if processes == 1:
                _serve(shared=False)
            else:
                with TemporaryDirectory(prefix="outgate-metrics-") as folder:
                    # Looked up once, when prometheus_client is imported: with the service.
                    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
                    _keep_running(processes)
        except OSError as error:
            # A taken port or a missing certificate: one line, not a traceback.
            raise CommandError(f"The submission service can't start: {error}") from None


def _keep_running(processes: int) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    from submission.service import SETTLE_SECONDS

    _check_start()
    work = partial(_serve, shared=True)
    seconds = settings.OUTGATE_SUBMISSION_DRAIN_SECONDS + SETTLE_SECONDS
    keep_running(processes, work, stop_seconds=seconds, on_end=mark_process_dead)


def _serve(*, shared: bool) -> None:
    from submission.service import serve

    uvloop.run(serve(shared=shared))


def _check_start() -> None:
    """Raises OSError for what would let every process end as soon as it has started.

    Ports that are to be shared can be opened though another service of ours has them.
    """
    from submission.service import service_certificate

    service_certificate()
    for port in (settings.OUTGATE_SUBMISSION_PORT, settings.OUTGATE_SUBMISSIONS_PORT):
        address = (settings.OUTGATE_SUBMISSION_HOST, port)
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        socket.create_server(address, family=family).close()


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one process is needed")
    return number

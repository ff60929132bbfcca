"""Outgate as in production: `manage.py submission` on a PostgreSQL that syncs to the disk."""

import base64
import json
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.parts import LOOPBACK, answers_at, daemon, free_ports, remove_engines, run
from bench.people import DOMAIN, Person
from bench.systems import System
from config.certificates import Certificates
from config.embedded import (
    APPLICATION_ROLE,
    OWNER_ROLE,
    Engines,
    engine_environment,
    place_engines,
)

MANAGE = [sys.executable, "manage.py"]


@contextmanager
def database(folder: Path, engines: Engines, environment: dict[str, str]) -> Iterator[int]:
    """A PostgreSQL of its own, migrated; gives its process number."""
    engines.prepare()
    with ExitStack() as stack:
        stack.callback(remove_engines, engines)
        postgres = stack.enter_context(
            daemon(
                engines.postgres_command(),
                folder / "postgres.log",
                engines.postgres_answers,
                environment=engine_environment(),
                user=engines.user,
                stop_signal=signal.SIGINT,
            )
        )
        engines.create_database()
        run([*MANAGE, "migrate", "--verbosity", "0"], environment)
        yield postgres


@contextmanager
def outgate(
    folder: Path, certificates: Certificates, people: list[Person], sinks: dict[str, int]
) -> Iterator[System]:
    """Outgate with these people; `sinks` is the port of each outside domain's server."""
    folder.mkdir(mode=0o711)
    ports = free_ports(2)
    engines = place_engines(folder)
    environment = settings_of(folder, engines, certificates, ports, list(sinks.values()))
    with ExitStack() as stack:
        postgres = stack.enter_context(database(folder, engines, environment))
        wanted = json.dumps({"people": [asdict(each) for each in people], "ports": sinks})
        made = run([sys.executable, "-m", "bench.organisation"], environment, input=wanted)
        app_passwords = json.loads(made)
        submission = stack.enter_context(
            daemon(
                [*MANAGE, "submission"],
                folder / "submission.log",
                lambda: all(answers_at(port) for port in ports),
                environment=environment,
            )
        )
        yield System(
            "Outgate",
            ports[0],
            ports[1],
            {each.address: (each.account, app_passwords[each.account]) for each in people},
            [submission, postgres],
        )


def settings_of(
    folder: Path, engines: Engines, certificates: Certificates, ports: list[int], sinks: list[int]
) -> dict[str, str]:
    return environment_of(folder, engines) | {
        "OUTGATE_RELAY_URL": f"smtp+starttls://localhost:{sinks[0]}",
        "OUTGATE_SUBMISSION_HOST": LOOPBACK,
        "OUTGATE_SUBMISSION_DRAIN_SECONDS": "8",  # less than STOP_SECONDS
        "OUTGATE_SUBMISSION_PORT": str(ports[0]),
        "OUTGATE_SUBMISSIONS_PORT": str(ports[1]),
        "OUTGATE_TLS_CERT_FILE": str(certificates.server),
        "OUTGATE_TLS_KEY_FILE": str(certificates.server_key),
        "OUTGATE_EGRESS_NETWORKS": "127.0.0.0/8,::1/128",
        "OUTGATE_EGRESS_PORTS": ",".join(str(port) for port in sinks),
        # Counted as ever, never reached.
        "OUTGATE_RECIPIENTS_PER_HOUR": "1000000000",
        "OUTGATE_RECIPIENTS_PER_DAY": "1000000000",
        "SSL_CERT_FILE": str(certificates.bundle),
    }


def environment_of(folder: Path, engines: Engines) -> dict[str, str]:
    """What every process of Outgate is told."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    values = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": engines.database_url(APPLICATION_ROLE),
        "MIGRATE_DATABASE_URL": engines.database_url(OWNER_ROLE),
        "REDIS_URL": engines.redis_url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "OUTGATE_CREDENTIAL_KEYS": f"bench:{key}",
        "OUTGATE_HOSTNAME": f"mail.{DOMAIN}",
        "OUTGATE_DATA_DIR": str(folder),
    }
    # Nothing of another installation's: neither its variables nor a secret's `<NAME>_FILE`.
    hidden = {f"{name}_FILE" for name in values}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OUTGATE_") and name not in hidden
    }
    return inherited | values

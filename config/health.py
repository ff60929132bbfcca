"""What keeps web, workers and beat from their work."""

from functools import cache

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError as BrokerError

from config.celery import app
from delivery.database import ask_whether_it_answers

BROKER_SECONDS = 2


class MigrationsMissingError(Exception):
    """The database is older than this code."""


def find_troubles() -> list[str]:
    """Empty where PostgreSQL and Redis answer and all migrations are applied."""
    troubles = []
    try:
        ask_whether_it_answers()
        _check_migrations()
    except DatabaseError:
        troubles.append("PostgreSQL does not answer.")
    except MigrationsMissingError:
        troubles.append("Migrations are missing: run manage.py migrate.")
    if not broker_answers():
        troubles.append("Redis does not answer.")
    return troubles


def broker_answers() -> bool:
    """Whether it answers a PING, on a new connection."""
    try:
        with app.connection_for_write(
            connect_timeout=BROKER_SECONDS, transport_options={"socket_timeout": BROKER_SECONDS}
        ) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
    except (BrokerError, OSError):
        return False
    return True


@cache
def _check_migrations() -> None:
    """Asked until the answer is yes once: what is applied stays so while this process runs."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise MigrationsMissingError

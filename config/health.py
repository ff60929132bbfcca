"""What keeps a web process from serving people."""

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
    try:
        _ask_broker()
    except (BrokerError, OSError):
        troubles.append("Redis does not answer.")
    return troubles


@cache
def _check_migrations() -> None:
    """Asked until the answer is yes once: what is applied stays so while this process runs."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise MigrationsMissingError


def _ask_broker() -> None:
    with app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
        broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)

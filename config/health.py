"""What keeps web, workers and beat from their work."""

import threading
from functools import cache

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError as BrokerError

from config.celery import app
from delivery.database import ask_whether_it_answers

BROKER_SECONDS = 2
POSTGRESQL_SECONDS = 3
NO_POSTGRESQL = "PostgreSQL does not answer."


class MigrationsMissingError(Exception):
    """The database is older than this code."""


def find_faults() -> list[str]:
    """Empty where PostgreSQL answers."""
    return [trouble for trouble in _ask_postgresql() if trouble == NO_POSTGRESQL]


def find_troubles() -> list[str]:
    """Empty where PostgreSQL and Redis answer and all migrations are applied."""
    troubles = _ask_postgresql()
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


class _Question(threading.Thread):
    """To PostgreSQL, on a new connection; libpq has no limit that ends every wait for an answer."""

    def __init__(self) -> None:
        super().__init__(name="ask PostgreSQL", daemon=True)
        self.troubles = [NO_POSTGRESQL]

    def run(self) -> None:
        try:
            ask_whether_it_answers()
            _check_migrations()
        except DatabaseError:
            return
        except MigrationsMissingError:
            self.troubles = ["Migrations are missing: run manage.py migrate."]
        else:
            self.troubles = []
        finally:
            connection.close()


_asking = threading.Lock()
_question: _Question | None = None


def _ask_postgresql() -> list[str]:
    """One question at a time: whoever asks meanwhile waits for the same answer."""
    global _question
    with _asking:
        if _question is None or not _question.is_alive():
            _question = _Question()
            _question.start()
        question = _question
    question.join(POSTGRESQL_SECONDS)
    return list(question.troubles)


@cache
def _check_migrations() -> None:
    """Asked until the answer is yes once: what is applied stays so while this process runs."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise MigrationsMissingError

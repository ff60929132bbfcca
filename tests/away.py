"""PostgreSQL away, as a load balancer or a crash makes it."""

import contextlib
from collections.abc import Iterator

import psycopg
from django.db import connection


def database_away(services) -> contextlib.AbstractContextManager[None]:
    """Cut every other connection to the tests' database and let no new one in.

    Called outside of an event loop, where Django finds the test's own connection.
    """
    connection.ensure_connection()
    return _away(services, connection.connection.info.backend_pid)


@contextlib.contextmanager
def _away(services, mine: int) -> Iterator[None]:
    root = psycopg.connect(
        host=str(services.sockets), user="postgres", dbname="postgres", autocommit=True
    )
    with contextlib.closing(root):
        root.execute("ALTER DATABASE outgate ALLOW_CONNECTIONS false")
        root.execute(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
            " WHERE datname = 'outgate' AND pid <> %s",
            [mine],
        )
        try:
            yield
        finally:
            root.execute("ALTER DATABASE outgate ALLOW_CONNECTIONS true")

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """PostgreSQL's now(), the start of this transaction: the only clock of a rollout."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        moment: datetime = cursor.fetchone()[0]
    return moment

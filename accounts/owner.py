"""Two database roles: the application's, and the owner's for what changes the schema."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

OWNER_KEYS = ("USER", "PASSWORD", "HOST", "PORT")


@contextmanager
def owner_role() -> Iterator[str]:
    """Use MIGRATE_DATABASE_URL's role on the default connection; the database stays the same.

    Yields the name of the application's role.
    """
    mine = {key: connection.settings_dict[key] for key in OWNER_KEYS}
    connection.close()
    connection.settings_dict.update({key: settings.MIGRATE_DATABASE[key] for key in OWNER_KEYS})
    try:
        yield mine["USER"]
    finally:
        connection.close()
        connection.settings_dict.update(mine)


def grant_application(role: str) -> None:
    """Let the application's role use every table, but only read and append the audit.

    Runs after each migration, as the owner.
    """
    quoted = connection.ops.quote_name(role)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        if cursor.fetchone()[0] == role:
            return  # one role for everything: nothing to grant, and it can't bind itself
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {quoted}")
        cursor.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {quoted}"
        )
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {quoted}")
        cursor.execute(f"REVOKE UPDATE, DELETE ON accounts_auditevent FROM {quoted}")
        cursor.execute(f"REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {quoted}")

"""Which of the sweeps that beat asked for really run."""

from django.conf import settings
from django.db import connection


def claim_sweep(task: str) -> bool:
    """Whether it is time for that task of beat's schedule, by PostgreSQL's clock.

    Half the time between two is enough, for beat's own clock is not exact; of two at once, one
    gets it. A message that expires would compare the clocks of two machines. This way two beats do
    no harm, and neither does a queue full of sweeps that a dead worker left behind.
    """
    seconds = settings.TASKS_EVERY[task] / 2
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO accounts_lastsweep AS last (name, at) VALUES (%s, now())
            ON CONFLICT (name) DO UPDATE SET at = now()
             WHERE last.at < now() - make_interval(secs => %s)
            """,
            [task, seconds],
        )
        return bool(cursor.rowcount == 1)

"""Which of the sweeps that beat asked for really runs."""

from django.db import connection

# Half the time between two sweeps: beat's own clock is not exact.
LEAST_SECONDS = 1.0


def claim_sweep() -> bool:
    """Whether it is time for one, by PostgreSQL's clock; of two at once, one gets it.

    A message that expires would compare the clocks of two machines. This way two beats do no
    harm, and neither does a queue full of sweeps that a dead worker left behind.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO policies_lastsweep AS last (id, at) VALUES (1, now())
            ON CONFLICT (id) DO UPDATE SET at = now()
             WHERE last.at < now() - make_interval(secs => %s)
            """,
            [LEAST_SECONDS],
        )
        return bool(cursor.rowcount == 1)

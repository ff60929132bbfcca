"""Waves: laying them out, applying them, and how far they are."""

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import F

from accounts.models import OrgUnit
from accounts.models.people import EXPRESS_COHORT, cohort_count
from policies.models import AppliedPolicy, PolicyChange, RolloutWave
from policies.services.clock import database_now

# Waves fill this part of the window; the rest is slack for a worker or beat that was away.
WAVES_SHARE = 0.75


class Progress(NamedTuple):
    """How many of the ordinary cohorts a change has reached, from the applied rows."""

    applied: int
    total: int

    @property
    def complete(self) -> bool:
        return self.applied == self.total


def window() -> timedelta:
    return timedelta(seconds=settings.OUTGATE_ROLLOUT_WINDOW)


def slack() -> timedelta:
    """By how much the end of a rollout is promised later than its last wave is due."""
    return window() * (1 - WAVES_SHARE)


def wave_delay(cohort: int, cohorts: int) -> timedelta:
    """How long after the start of a change a cohort's wave is due."""
    return window() * WAVES_SHARE * max(cohort - 1, 0) / max(cohorts - 1, 1)


def supersede_older_waves(changes: Collection[PolicyChange]) -> None:
    """End what has not arrived of older changes, but for those that bring the same value."""
    # By ids, not by a join: then PostgreSQL looks once more whether a wave that it had to wait for
    # is still open.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE policies_rolloutwave SET superseded_at = statement_timestamp()
             WHERE applied_at IS NULL AND superseded_at IS NULL
               AND change_id IN (
                   SELECT older.id
                     FROM policies_policychange newer
                     JOIN policies_policychange older
                       ON older.unit_id = newer.unit_id AND older.setting = newer.setting
                      AND older.version < newer.version
                      AND older.new IS DISTINCT FROM newer.new
                    WHERE newer.id = ANY(%s::bigint[]))
            """,
            [[change.pk for change in changes]],
        )


def plan_waves(changes: Collection[PolicyChange], *, at_once: Collection[int] = ()) -> None:
    """The express cohort at once, the others evenly from the start to three quarters of the window.

    So do the cohorts `at_once`. `complete_by` is told anew: the last wave, and the slack.
    """
    count = cohort_count()
    cohorts = range(EXPRESS_COHORT, count + 1)
    delays = [timedelta() if cohort in at_once else wave_delay(cohort, count) for cohort in cohorts]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO policies_rolloutwave (change_id, cohort, due_at)
            SELECT change.id, step.cohort, change.starts_at + step.delay
              FROM policies_policychange change,
                   unnest(%s::smallint[], %s::interval[]) AS step (cohort, delay)
             WHERE change.id = ANY(%s::bigint[])
             ORDER BY change.id, step.cohort
            """,
            [list(cohorts), delays, [change.pk for change in changes]],
        )
    for change in changes:
        complete_by = change.starts_at + max(delays) + slack()
        if complete_by != change.complete_by:
            change.complete_by = complete_by
            change.save(update_fields=["complete_by"])


def cohorts_undone_at_once(change: PolicyChange) -> set[int]:
    """Those that have the change that is undone, and those that have the value from before."""
    undone = change.undoes
    if undone is None or undone.version is None:
        return set()
    rows = AppliedPolicy.objects.filter(unit_id=change.unit_id, setting=change.setting)
    applied = {row.cohort: row for row in rows}
    ordinary = range(EXPRESS_COHORT, cohort_count() + 1)
    without_row = {cohort for cohort in ordinary if cohort not in applied and change.new is None}
    return without_row | {
        cohort
        for cohort, row in applied.items()
        if row.version >= undone.version or row.value == change.new
    }


def apply_waves(wave_ids: Collection[int]) -> int:
    """Make due waves true for their cohorts; returns how many.

    Whoever comes second, or too early, does nothing. One statement, however many waves:

    1. claim those that are open and due, skipping what another worker holds;
    2. mark them;
    3. one upsert, which only moves to a higher version: for each unit, setting and cohort the
       newest of these waves' changes. All workers write these rows in one order, so that none
       waits for another that waits for it.
    """
    # Each unit is held, so that none is deleted meanwhile, and where it is gone there is nothing to
    # apply to: what a foreign key does, which would take a third of the statement's time.
    # The open ones are asked for in words that the index of open waves does not know: PostgreSQL
    # takes all of these for few, and would read every due wave to find those with the ids.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH claimed AS (
                SELECT id FROM policies_rolloutwave
                 WHERE id = ANY(%s::bigint[]) AND coalesce(applied_at, superseded_at) IS NULL
                   AND paused_at IS NULL AND due_at <= statement_timestamp()
                   FOR UPDATE SKIP LOCKED
            ), marked AS (
                UPDATE policies_rolloutwave wave SET applied_at = statement_timestamp()
                  FROM claimed WHERE wave.id = claimed.id
                RETURNING wave.change_id, wave.cohort
            ), written AS (
                INSERT INTO policies_appliedpolicy (unit_id, setting, cohort, value, version)
                SELECT DISTINCT ON (unit.id, change.setting, marked.cohort)
                       unit.id, change.setting, marked.cohort, change.new, change.version
                  FROM marked
                  JOIN policies_policychange change ON change.id = marked.change_id
                 CROSS JOIN LATERAL (
                       SELECT id FROM accounts_orgunit WHERE id = change.unit_id FOR KEY SHARE
                       ) unit
                 ORDER BY unit.id, change.setting, marked.cohort, change.version DESC
                ON CONFLICT (unit_id, setting, cohort) DO UPDATE
                   SET value = excluded.value, version = excluded.version, applied_at = now()
                 WHERE policies_appliedpolicy.version < excluded.version
            )
            SELECT count(*) FROM marked
            """,
            [list(wave_ids)],
        )
        applied: int = cursor.fetchone()[0]
    return applied


def hold_waves(change: PolicyChange) -> None:
    """Make no open wave of the change due. Waits for those that are being applied."""
    change.waves.open().update(paused_at=database_now())


def release_waves(change: PolicyChange) -> None:
    """Let the held waves come as far apart as they were to, later by the time they were held."""
    held = change.waves.open().filter(paused_at__isnull=False)
    later = database_now() - min(wave.paused_at for wave in held if wave.paused_at)
    held.update(due_at=F("due_at") + later, paused_at=None)
    change.complete_by += later
    change.save(update_fields=["complete_by"])


def bring_waves_forward(change: PolicyChange) -> None:
    """Make every open wave due now, held ones too.

    `complete_by` never becomes later than it was, unless it has passed.
    """
    now = database_now()
    change.waves.open().update(due_at=now, paused_at=None)
    in_a_moment = now + slack()
    in_time = now < change.complete_by < in_a_moment
    change.complete_by = change.complete_by if in_time else in_a_moment
    change.save(update_fields=["complete_by"])


def rollout_state(change: PolicyChange, waves: Iterable[RolloutWave]) -> str:
    """scheduled, cancelled, rolling, paused, complete, or replaced where a newer one came first."""
    if change.version is None:
        return "cancelled" if change.cancelled_at else "scheduled"
    waves = list(waves)
    if any(wave.superseded_at for wave in waves):
        return "replaced"
    still_open = [wave for wave in waves if wave.applied_at is None]
    if not still_open:
        return "complete"
    return "paused" if any(wave.paused_at for wave in still_open) else "rolling"


def applied_cohorts(changes: Sequence[PolicyChange]) -> dict[int, set[int]]:
    """For each change, by its id, the cohorts that have it or a newer one: one query."""
    rows = AppliedPolicy.objects.filter(
        unit_id__in={change.unit_id for change in changes},
        setting__in={change.setting for change in changes},
    ).values_list("unit_id", "setting", "cohort", "version")
    versions: dict[tuple[int, str], dict[int, int]] = {}
    for unit_id, setting, cohort, version in rows:
        versions.setdefault((unit_id, setting), {})[cohort] = version
    return {
        change.pk: {
            cohort
            for cohort, version in versions.get((change.unit_id, change.setting), {}).items()
            if change.version is not None and version >= change.version
        }
        for change in changes
    }


def change_progress(change: PolicyChange) -> Progress:
    """Read from what is applied, not from what was planned: a dead worker stands still here."""
    waves = change.waves.exclude(cohort=EXPRESS_COHORT)
    applied = len(applied_cohorts([change])[change.pk] - {EXPRESS_COHORT})
    if not OrgUnit.objects.filter(pk=change.unit_id).exists():
        # What was applied to a unit goes with it; its waves stay.
        applied = waves.filter(applied_at__isnull=False).count()
    return Progress(applied, waves.count())

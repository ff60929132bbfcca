import asyncio
from functools import cache

import uvloop
from celery import shared_task

from accounts.services.sweeps import claim_sweep
from delivery import limit_reports, outbox, queue, sign_in_checks
from delivery.courier import AT_ONCE, Courier
from delivery.database import Database
from delivery.models import LimitReport, RecipientCount
from delivery.retention import delete_old_rows

SWEEP_LIMIT = 100
RUNS = 4  # of the outbox, by one sweep at most; each goes on while there is something to do


@cache
def database() -> Database:
    """One for each worker process, made after the fork."""
    return Database()


@shared_task
def sweep_outbox() -> None:
    """Enqueue runs for what is due; beat runs this every few seconds."""
    if not claim_sweep("delivery.tasks.sweep_outbox"):
        return
    outbox.release_mended()
    due = queue.count_due(RUNS * AT_ONCE)
    for _ in range(-(-due // AT_ONCE)):
        deliver_outbox.delay()


@shared_task
def deliver_outbox() -> None:
    """Carry what is due. Run twice, or not at all, nothing is sent twice, nor lost."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Courier(database()).run())


@shared_task
def check_sign_ins() -> None:
    """Try some stored passwords; beat runs this every few seconds. Late or twice, none twice."""
    if claim_sweep("delivery.tasks.check_sign_ins"):
        sign_in_checks.check_sign_ins(database())


@shared_task
def tidy_outbox() -> None:
    outbox.tidy_outbox()


@shared_task
def sweep_limit_reports() -> None:
    """Enqueue what administrators have to hear; beat runs this every few seconds."""
    if not claim_sweep("delivery.tasks.sweep_limit_reports"):
        return
    for report_id in LimitReport.objects.due().values_list("pk", flat=True)[:SWEEP_LIMIT]:
        mail_limit_report.delay(report_id)


@shared_task
def mail_limit_report(report_id: int) -> None:
    limit_reports.mail_report(report_id)


@shared_task
def forget_recipient_counts() -> None:
    RecipientCount.objects.past().delete()


@shared_task
def forget_deliveries() -> None:
    delete_old_rows()

from celery import shared_task

from delivery import limit_reports
from delivery.models import LimitReport, RecipientCount
from delivery.retention import delete_old_rows

SWEEP_LIMIT = 100


@shared_task
def sweep_limit_reports() -> None:
    """Enqueue what administrators have to hear; beat runs this every few seconds."""
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

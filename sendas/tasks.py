from uuid import UUID

from celery import shared_task
from django.conf import settings

from accounts.services.sweeps import claim_sweep
from sendas.models import HostIncident, OwnerNotice
from sendas.services import approval_mails, incidents, notices
from sendas.services.domain_questions import ask_due_domain
from sendas.services.mail_domains import due_domains, note_own_domains
from sendas.services.reproof import BATCH, ask_for_old_proofs, suspend_lapsed

# So many domains a minute: 200,000 within the week, and no burst at anybody's servers.
SWEEP_LIMIT = 20
NOTICES = 100  # by one sweep: with a sweep every ten seconds, 36,000 an hour


@shared_task
def sweep_mail_domains() -> None:
    """Enqueue the domains whose turn it is; beat runs this every minute."""
    if not settings.OUTGATE_FIND_SETTINGS or not claim_sweep("sendas.tasks.sweep_mail_domains"):
        return
    note_own_domains()
    for pk in due_domains().values_list("pk", flat=True)[:SWEEP_LIMIT]:
        ask_mail_domain.delay(pk)


@shared_task
def ask_mail_domain(pk: int) -> None:
    ask_due_domain(pk)


@shared_task
def sweep_proofs() -> None:
    """Ask for old proofs, and suspend what was not proved again; beat runs this every minute.

    Run twice, or late, nobody is asked twice.
    """
    while suspend_lapsed() == BATCH:
        pass
    while ask_for_old_proofs() == BATCH:
        pass


@shared_task
def sweep_incidents() -> None:
    """See whether many accounts at one server fail; beat runs this every minute."""
    if not claim_sweep("sendas.tasks.sweep_incidents"):
        return
    incidents.note_incidents()
    for incident_id in HostIncident.objects.due().values_list("pk", flat=True):
        mail_incident.delay(incident_id)


@shared_task
def mail_incident(incident_id: int) -> None:
    incidents.mail_incident(incident_id)


@shared_task
def sweep_approvals() -> None:
    """Enqueue the administrators who have servers to approve; beat runs this every minute."""
    if not claim_sweep("sendas.tasks.sweep_approvals"):
        return
    for user_id in approval_mails.note_administrators():
        mail_approvals.delay(user_id)


@shared_task
def mail_approvals(user_id: UUID) -> None:
    approval_mails.mail_administrator(user_id)


@shared_task
def sweep_notices() -> None:
    """Enqueue what owners have to hear; beat runs this every few seconds."""
    if not claim_sweep("sendas.tasks.sweep_notices"):
        return
    for notice_id in OwnerNotice.objects.due().values_list("pk", flat=True)[:NOTICES]:
        mail_notice.delay(notice_id)


@shared_task
def mail_notice(notice_id: int) -> None:
    notices.mail_notice(notice_id)

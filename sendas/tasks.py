from celery import shared_task
from django.conf import settings

from sendas.services.domain_questions import ask_due_domain
from sendas.services.mail_domains import due_domains, note_own_domains

SWEEP_SECONDS = 60.0
# So many domains a minute: 200,000 within the week, and no burst at anybody's servers.
SWEEP_LIMIT = 20


@shared_task
def sweep_mail_domains() -> None:
    """Enqueue the domains whose turn it is; beat runs this every minute."""
    if not settings.OUTGATE_FIND_SETTINGS:
        return
    note_own_domains()
    for pk in due_domains().values_list("pk", flat=True)[:SWEEP_LIMIT]:
        # What a busy worker has not come to by then is enqueued again.
        ask_mail_domain.apply_async((pk,), expires=SWEEP_SECONDS)


@shared_task
def ask_mail_domain(pk: int) -> None:
    ask_due_domain(pk)

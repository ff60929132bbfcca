"""Telling super administrators that many accounts at one server fail, once for each incident."""

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Min
from django.db.models.functions import Now
from django.urls import reverse

from accounts.services.administrator_mail import mail_super_administrators
from accounts.services.audit import SYSTEM, record_event
from accounts.services.mails import mail_due
from sendas.models import HostIncident, SmtpMsa
from sendas.services.failing import HOUR


def note_incidents() -> None:
    """Begin one where too many accounts failed within an hour; end one after a quiet hour."""
    recent = SmtpMsa.objects.refused().filter(refused_at__gt=Now() - HOUR)
    counted = recent.values("host").annotate(
        accounts=Count("send_as__user", distinct=True), since=Min("refused_at")
    )
    with transaction.atomic():
        HostIncident.objects.open().exclude(host__in=recent.values("host")).update(ended_at=Now())
        for found in counted.filter(accounts__gt=settings.OUTGATE_FAILING_ACCOUNTS):
            incident, is_new = HostIncident.objects.get_or_create(
                host=found["host"],
                ended_at=None,
                defaults={"accounts": found["accounts"], "begun_at": found["since"]},
            )
            if is_new:
                record_event(SYSTEM, "host_fails", incident.host, accounts=incident.accounts)


def mail_incident(incident_id: int) -> None:
    """Send one mail about it, unless that was done or is being done."""
    if mail_due(HostIncident.objects.due(), incident_id, _mail):
        HostIncident.objects.filter(pk=incident_id).update(mailed_at=Now())


def _mail(incident: HostIncident) -> None:
    page = reverse("console:failing_servers", query={"host": incident.host})
    context = {"incident": incident, "link": settings.BASE_URL + page}
    mail_super_administrators("sendas/mail/host-fails", context)

"""Telling super administrators that many accounts at one server fail, once for each incident.

Refusals may lie far apart and have nothing to do with each other, so they are counted by the hour.
Checks are spread over the night: what they find is counted as long as it holds.

An incident begins with more accounts than OUTGATE_FAILING_ACCOUNTS, and ends with half of them or
fewer: a number that hovers at the threshold is one incident, and a few that stay in the trouble for
weeks do not hide the next one.
"""

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, Min, OuterRef, Q
from django.db.models.functions import Now
from django.urls import reverse

from accounts.services.administrator_mail import mail_super_administrators
from accounts.services.audit import SYSTEM, record_event
from accounts.services.mails import mail_due
from sendas.models import HostIncident, SmtpMsa, Trouble
from sendas.services.failing import HOUR


def _bearable_at_end() -> int:
    bearable: int = settings.OUTGATE_FAILING_ACCOUNTS // 2
    return bearable


def note_incidents() -> None:
    """Begin one where too many accounts are in one trouble; end one where few still are."""
    counts = ~Q(trouble=Trouble.REFUSED) | Q(refused_at__gt=Now() - HOUR)
    failing = SmtpMsa.objects.failing().filter(counts)
    counted = failing.values("host", "trouble").annotate(
        accounts=Count("send_as__user", distinct=True), since=Min("failed_at")
    )
    goes_on = counted.filter(
        host=OuterRef("host"), trouble=OuterRef("trouble"), accounts__gt=_bearable_at_end()
    )
    with transaction.atomic():
        HostIncident.objects.open().exclude(Exists(goes_on)).update(ended_at=Now())
        for found in counted.filter(accounts__gt=settings.OUTGATE_FAILING_ACCOUNTS):
            incident, is_new = HostIncident.objects.get_or_create(
                host=found["host"],
                trouble=found["trouble"],
                ended_at=None,
                defaults={"accounts": found["accounts"], "begun_at": found["since"]},
            )
            if is_new:
                record_event(
                    SYSTEM,
                    "host_fails",
                    incident.host,
                    accounts=incident.accounts,
                    trouble=incident.trouble,
                )


def mail_incident(incident_id: int) -> None:
    """Send one mail about it, unless that was done or is being done."""
    if mail_due(HostIncident.objects.due(), incident_id, _mail):
        HostIncident.objects.filter(pk=incident_id).update(mailed_at=Now())


def _mail(incident: HostIncident) -> None:
    page = reverse("console:failing_servers", query={"host": incident.host})
    context = {
        "incident": incident,
        "link": settings.BASE_URL + page,
        "bearable": _bearable_at_end(),
    }
    mail_super_administrators("sendas/mail/host-fails", context)

"""Telling administrators of servers that wait for their approval: one mail an hour at most."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse

from accounts.models import Privilege, RoleAssignment, User
from accounts.services.mails import mail_due, send_mail
from accounts.services.rights import rights_of
from sendas.models import Approval, ApprovalMail, SmtpMsa
from sendas.services.approval import unapproved_gateways

EVERY = timedelta(hours=1)
# A server is committed a little after the time that it waits since: by then its row is there.
SETTLED = timedelta(minutes=1)
NAMED = 20  # servers in a mail; the page has all

Role = RoleAssignment.Role


def note_administrators() -> list[UUID]:
    """The accounts of those who have something new to decide, and can be mailed now."""
    waiting = SmtpMsa.objects.filter(approval=Approval.WAITING, approval_since__lte=Now() - SETTLED)
    if not waiting.exists():
        return []
    untold = Q(approval_since__gt=OuterRef("user__approval_mail__told_until"))
    below = Q(send_as__user__unit__path__startswith=OuterRef("unit__path"))
    is_new = Q(user__approval_mail__told_until=None)
    roles = RoleAssignment.objects.filter(user__suspended=False).filter(
        Q(role=Role.SUPER_ADMIN) & (is_new | Exists(waiting.filter(untold)))
        | Q(role=Role.UNIT_ADMIN, privileges__contains=[Privilege.MAIL_SETTINGS])
        & (is_new & Exists(waiting.filter(below)) | Exists(waiting.filter(untold & below)))
    )
    found = set(roles.values_list("user_id", flat=True))
    ApprovalMail.objects.bulk_create(
        [ApprovalMail(user_id=user_id) for user_id in found], ignore_conflicts=True
    )
    return list(ApprovalMail.objects.due().filter(pk__in=found).values_list("pk", flat=True))


def mail_administrator(user_id: UUID) -> None:
    """Send one mail about all that waits, unless that was done or is being done."""
    mail_due(ApprovalMail.objects.due(), user_id, _mail)


def _mail(row: ApprovalMail) -> None:
    user = row.user
    until: datetime = ApprovalMail.objects.values_list(Now() - SETTLED, flat=True).get(pk=row.pk)
    waiting = _waiting_for(user).filter(approval_since__lte=until)
    new = waiting.filter(approval_since__gt=row.told_until) if row.told_until else waiting
    count = new.count()
    if not count:
        return  # decided meanwhile, or the role was taken away
    context = {
        "count": count,
        "gateways": new[:NAMED],
        "more": max(count - NAMED, 0),
        "waiting": waiting.count(),
        "link": settings.BASE_URL + reverse("console:approvals"),
    }
    name = "sendas/mail/approvals-wait"
    send_mail(name, to=[user.primary_address], reader=user, context=context)
    ApprovalMail.objects.filter(pk=row.pk).update(told_until=until, next_try_at=Now() + EVERY)


def _waiting_for(user: User) -> QuerySet[SmtpMsa]:
    below = Q(pk=None)
    for path in rights_of(user).paths(Privilege.MAIL_SETTINGS):
        below |= Q(send_as__user__unit__path__startswith=path)
    return unapproved_gateways().filter(below, approval=Approval.WAITING)

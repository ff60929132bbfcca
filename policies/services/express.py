"""One account ahead of the others: it joins the express cohort until nothing waits for it."""

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import OrgUnit, Privilege, User
from accounts.models.people import EXPRESS_COHORT
from accounts.services.audit import SYSTEM, Actor, record_event
from accounts.services.rights import administers
from policies.models import RolloutWave


def apply_now_to_account(*, actor: Actor, user: User, unit_id: int, reason: str = "") -> None:
    """Everything that waits for the account holds for it now.

    `unit_id` is the unit in which the page showed it. Raises ValidationError where it was moved or
    put into the express cohort meanwhile, or where nothing waits for it.
    """
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if actor.user is None or not administers(actor.user, user.unit, Privilege.MAIL_SETTINGS):
            raise PermissionDenied(_("You don't administer this account's unit."))
        if user.unit_id != unit_id:
            raise ValidationError(
                _("The account was moved to %(unit)s meanwhile. Nothing was done.")
                % {"unit": user.unit.name}
            )
        if user.cohort == EXPRESS_COHORT:
            raise ValidationError(
                _("The account is in the express cohort already: every change reaches it first.")
            )
        changes = [wave.change_id for wave in _pending_waves(user)]
        if not changes:
            raise ValidationError(_("Nothing waits for this account: it has every change."))
        User.objects.filter(pk=user.pk).update(cohort=EXPRESS_COHORT, returns_to=user.cohort)
        record_event(
            actor,
            "account_applied_now",
            user.primary_address,
            unit=user.unit,
            changes=changes,
            cohort=user.cohort,
            reason=reason,
        )


def _pending_waves(user: User) -> QuerySet[RolloutWave]:
    """Open waves that bring something to the account, the next one first."""
    above = OrgUnit.objects.filter(path__in=user.unit.lineage)
    return (
        RolloutWave.objects.open()
        .filter(cohort=user.cohort, change__unit_id__in=above.values_list("pk", flat=True))
        .order_by("due_at", "id")
    )


def return_express_guests() -> int:
    """Back to their own cohorts the accounts for which these have nothing left to bring."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE accounts_user guest SET cohort = guest.returns_to, returns_to = NULL
              FROM accounts_orgunit unit
             WHERE guest.returns_to IS NOT NULL AND unit.id = guest.unit_id
               AND NOT EXISTS (
                   SELECT FROM policies_rolloutwave wave
                     JOIN policies_policychange change ON change.id = wave.change_id
                     JOIN accounts_orgunit above ON above.id = change.unit_id
                    WHERE wave.applied_at IS NULL AND wave.superseded_at IS NULL
                      AND wave.cohort = guest.returns_to
                      AND starts_with(unit.path, above.path))
            RETURNING guest.primary_address, guest.cohort, guest.unit_id
            """
        )
        returned = cursor.fetchall()
        units = OrgUnit.objects.in_bulk([unit_id for *_account, unit_id in returned])
        for address, cohort, unit_id in returned:
            record_event(
                SYSTEM, "account_returned_to_cohort", address, unit=units[unit_id], cohort=cohort
            )
    return len(returned)

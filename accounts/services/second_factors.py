"""The second factor of an account whose owner has lost it."""

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models import F

from accounts.models import RoleAssignment, User
from accounts.services.audit import Actor, record_event
from accounts.services.rights import demand_owner_or_support, demand_super_admin


def reset_second_factor(*, actor: Actor, user: User) -> bool:
    """Take app and recovery codes away and end all sessions; False where there was nothing.

    Support may do it, but only a super administrator to an account with a role: else who answers
    the telephone could be talked out of an administrator's protection.
    """
    with transaction.atomic():
        if RoleAssignment.objects.filter(user_id=user.pk).exists():
            demand_super_admin(actor)
        else:
            demand_owner_or_support(actor, user)
        count, _by_model = Authenticator.objects.filter(user_id=user.pk).delete()
        if count:
            sessions = F("session_generation") + 1
            User.objects.filter(pk=user.pk).update(session_generation=sessions)
            record_event(actor, "second_factor_reset", user.primary_address, unit=user.unit)
    return bool(count)

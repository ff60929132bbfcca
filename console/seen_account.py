"""Whose form of an account it is: signed in it, so that who lost the right to it gets it back."""

from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpRequest

from accounts.models import User

FIELD = "seen_account"
SALT = "console.seen_account"


def sign_account(user: User, account_id: UUID | None) -> str:
    """For the form of that account; without an id, of a new one."""
    return signing.dumps([str(user.pk), str(account_id)], salt=SALT)


def has_seen(request: HttpRequest, account_id: UUID | None) -> bool:
    """Whether the posted form was made for this person, and about this account."""
    try:
        signed = signing.loads(
            request.POST.get(FIELD, ""), salt=SALT, max_age=settings.SESSION_COOKIE_AGE
        )
    except signing.BadSignature:
        return False
    return bool(signed == [str(request.user.pk), str(account_id)])

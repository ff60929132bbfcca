"""What the administrator saw of a unit: signed in its form, so that it proves that he saw it."""

from django.conf import settings
from django.core import signing
from django.http import HttpRequest

from accounts.models import OrgUnit, User
from accounts.requests import SignedInRequest
from accounts.services.directory import SeenUnit

FIELD = "seen_unit"
SALT = "console.seen_unit"


def sign_unit(user: User, unit: OrgUnit) -> str:
    return signing.dumps([str(user.pk), unit.pk, unit.name, unit.path], salt=SALT)


def seen_field(request: SignedInRequest, unit: OrgUnit) -> str:
    """For the form: as it was posted, so that what it says of the past stays; else as it is now."""
    return request.POST.get(FIELD) or sign_unit(request.user, unit)


def seen_unit(request: HttpRequest, unit_id: int, field: str = FIELD) -> SeenUnit | None:
    """What the form says of this unit; None from a form that was not made for this person."""
    try:
        user_id, seen_id, name, path = signing.loads(
            request.POST.get(field, ""), salt=SALT, max_age=settings.SESSION_COOKIE_AGE
        )
    except signing.BadSignature:
        return None
    return SeenUnit(name, path) if (user_id, seen_id) == (str(request.user.pk), unit_id) else None


def seen_path(request: HttpRequest, unit_id: int) -> str | None:
    seen = seen_unit(request, unit_id)
    return seen.path if seen else None


def is_elsewhere(request: HttpRequest, unit: OrgUnit) -> bool:
    """Whether the unit stands elsewhere than where the form was made for it."""
    return seen_path(request, unit.pk) not in {None, unit.path}

"""The only way from a request to what belongs to an account: 404 to everybody else."""

from django.http import Http404

from accounts.models import AppPassword
from accounts.requests import SignedInRequest


def usable_app_password(request: SignedInRequest, key: str) -> AppPassword:
    """The signed-in account's app password with this id, unless it is revoked."""
    for app_password in request.user.app_passwords.filter(revoked_at=None):
        if str(app_password.pk) == key:
            return app_password
    raise Http404

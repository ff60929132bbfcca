"""Second factors of the cast, set up and used the way django-allauth does it."""

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.http import HttpRequest
from django.test import Client

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def give_second_factor(user) -> Authenticator:
    """An authenticator app with `SECRET`, whose codes are `code_now(SECRET)`."""
    had = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first()
    return had or TOTP.activate(user, SECRET).instance


def use_second_factor(client, user) -> None:
    """Recorded in the signed-in client's session."""
    request = HttpRequest()
    request.session = client.session
    authenticator = give_second_factor(user)
    record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)
    request.session.save()


class SecondFactorClient(Client):
    def force_login(self, user, backend=None):
        super().force_login(user, backend)
        if user.roles.exists():
            use_second_factor(self, user)

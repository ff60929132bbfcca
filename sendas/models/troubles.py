from django.db import models
from django.utils.translation import gettext_lazy as _

from smtp.failure import FailureKind


class Trouble(models.TextChoices):
    """What a server does to an account that can't use it; the words go on from its name."""

    REFUSED = "refused", _("refuses the password")
    UNREACHABLE = "unreachable", _("does not answer")
    ENCRYPTION = "encryption", _("offers no safe encryption")
    CERTIFICATE = "certificate", _("has no valid certificate")
    SIGN_IN = "sign_in", _("lets nobody sign in at present")


_KINDS = {
    FailureKind.NO_PUBLIC_ADDRESS: Trouble.UNREACHABLE,
    FailureKind.PORT_NOT_ALLOWED: Trouble.UNREACHABLE,
    FailureKind.NOT_A_MAIL_SERVER: Trouble.UNREACHABLE,
    FailureKind.TIMEOUT: Trouble.UNREACHABLE,
    FailureKind.CONNECTION_LOST: Trouble.UNREACHABLE,
    FailureKind.TLS_NOT_OFFERED: Trouble.ENCRYPTION,
    FailureKind.TLS_VERSION: Trouble.ENCRYPTION,
    FailureKind.CERTIFICATE_NAME: Trouble.CERTIFICATE,
    FailureKind.CERTIFICATE_EXPIRED: Trouble.CERTIFICATE,
    FailureKind.CERTIFICATE_UNKNOWN: Trouble.CERTIFICATE,
}


def trouble_of(kind: str) -> Trouble:
    """Of a check that failed by this FailureKind, and did not refuse the password for good."""
    return _KINDS.get(FailureKind(kind), Trouble.SIGN_IN)


def kinds_of(trouble: Trouble) -> list[FailureKind]:
    return [kind for kind, leads_to in _KINDS.items() if leads_to == trouble]

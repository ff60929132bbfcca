from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from sendas.models.send_as import SendAs


class OwnerNoticeQuerySet(models.QuerySet["OwnerNotice"]):
    def due(self) -> "OwnerNoticeQuerySet":
        return self.filter(next_try_at__lte=Now())


class OwnerNotice(models.Model):
    """A mail that an account has to get about its addresses; gone once it has left.

    `kind` names the templates; it is about one address, or all at one host.
    """

    class Kind(models.TextChoices):
        PROVE_AGAIN = "prove-again", _("To be proved again")
        ADDRESS_SUSPENDED = "address-suspended", _("Suspended")
        PASSWORDS_WIPED = "passwords-wiped", _("Passwords wiped")
        PASSWORD_REFUSED = "password-refused", _("Password refused")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    send_as = models.ForeignKey(SendAs, on_delete=models.CASCADE, null=True, related_name="+")
    host = models.CharField(max_length=253, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    next_try_at = models.DateTimeField(db_default=Now(), db_index=True)

    objects = OwnerNoticeQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.kind} {self.user_id}"

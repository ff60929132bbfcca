import hashlib
import secrets

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User

# Base32 without look-alikes would gain nothing: people paste these. 20 letters are 100 bits.
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
LETTERS = 20


def generate_secret() -> str:
    """Four groups of five letters, 100 random bits."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(LETTERS))
    return "-".join(letters[start : start + 5] for start in range(0, LETTERS, 5))


def digest_secret(secret: str) -> bytes:
    """SHA-256 of the letters; hyphens, spaces and case are as the mail program left them.

    A fast hash is enough: 100 random bits cannot be tried through.
    """
    letters = secret.replace("-", "").replace(" ", "").lower()
    return hashlib.sha256(letters.encode()).digest()


class AppPassword(models.Model):
    """A password for one mail program; only its digest is kept."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="app_passwords", verbose_name=_("account")
    )
    name = models.CharField(_("name"), max_length=100)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    # The /24 or /64: enough to recognise a place, too little to follow a person.
    last_used_network = models.CharField(
        _("last used from"), max_length=45, blank=True, editable=False
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("app password")
        verbose_name_plural = _("app passwords")
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["user"], condition=Q(revoked_at=None), name="usable_app_password")
        ]

    def __str__(self) -> str:
        return self.name

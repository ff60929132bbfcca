from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from sendas.models.send_as import SendAs

CODE_TRIES = 5


class OwnershipProof(models.Model):
    """A link (24 h) and a code (15 min) sent to an address, both kept as digests only."""

    send_as = models.ForeignKey(SendAs, on_delete=models.CASCADE, related_name="proofs")
    link_digest = models.CharField(max_length=64, unique=True)
    code_digest = models.CharField(max_length=64)
    sent_at = models.DateTimeField()
    code_valid_until = models.DateTimeField()
    link_valid_until = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-sent_at",)

    def __str__(self) -> str:
        return f"{self.send_as_id} {self.sent_at}"

    @property
    def is_tried_out(self) -> bool:
        """Whether too many wrong codes were typed; the link knows nothing of that."""
        return self.attempts >= CODE_TRIES

    @property
    def takes_code(self) -> bool:
        return not self.is_tried_out and self.code_valid_until > timezone.now()

    @property
    def takes_link(self) -> bool:
        return self.link_valid_until > timezone.now()


class VerificationMail(models.Model):
    """That a mail with a code went to an address: the limits count these, whoever asked."""

    address = models.EmailField(max_length=254)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    sent_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["address", "sent_at"]),
            models.Index(fields=["user", "sent_at"]),
        ]

    def __str__(self) -> str:
        return self.address

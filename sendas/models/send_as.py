from datetime import timedelta

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class SendAsQuerySet(models.QuerySet["SendAs"]):
    def ageing(self, age: timedelta) -> "SendAsQuerySet":
        """Proved so long ago that it has to be asked for again, of accounts that can sign in."""
        return self.filter(
            verification_status=SendAs.VerificationStatus.ACCEPTED,
            asked_at=None,
            verified_at__lt=Now() - age,
            user__suspended=False,
        )

    def lapsed(self) -> "SendAsQuerySet":
        """Not proved again in time, and not suspended yet."""
        return self.filter(suspended_at=None, proof_due_at__lte=Now())


class SendAs(models.Model):
    """An address that an account may choose as From, named as in Gmail's API.

    The primary address and own aliases need no row: one exists only to hold what the person chose
    for them, and then says nothing about verification, so that it is worth nothing once the alias
    is gone.
    """

    class VerificationStatus(models.TextChoices):
        NOT_NEEDED = "", _("Own address")
        PENDING = "pending", _("Waiting for proof")
        ACCEPTED = "accepted", _("Verified")

    class AskReason(models.TextChoices):
        AGE = "age", _("The proof is old")
        BOUNCE = "bounce", _("Mail to the address came back")
        SENDER = "sender", _("Its own server does not know it any more")

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="send_as", verbose_name=_("account")
    )
    send_as_email = models.EmailField(_("address"), max_length=254)
    domain = models.GeneratedField(
        expression=Func(F("send_as_email"), Value("@"), Value(-1), function="split_part"),
        output_field=models.CharField(_("domain"), max_length=253),
        db_persist=True,
    )
    display_name = models.CharField(_("name"), max_length=200, blank=True)
    reply_to_address = models.EmailField(_("reply-to address"), max_length=254, blank=True)
    signature = models.TextField(_("signature"), blank=True)
    treat_as_alias = models.BooleanField(_("treat as an alias"), default=True)
    is_default = models.BooleanField(_("default"), default=False)
    verification_status = models.CharField(
        _("verification"), max_length=8, choices=VerificationStatus.choices, blank=True
    )
    verified_at = models.DateTimeField(_("verified"), null=True, editable=False)
    created_at = models.DateTimeField(_("added"), db_default=Now(), editable=False)
    # A proof that is asked for again: since when, why, by when, and since when it is overdue.
    asked_at = models.DateTimeField(_("asked to be proved again"), null=True, editable=False)
    ask_reason = models.CharField(
        _("asked because"), max_length=6, choices=AskReason.choices, blank=True, editable=False
    )
    proof_due_at = models.DateTimeField(_("to be proved by"), null=True, editable=False)
    suspended_at = models.DateTimeField(_("suspended"), null=True, editable=False)

    objects = SendAsQuerySet.as_manager()

    class Meta:
        verbose_name = _("send-as address")
        verbose_name_plural = _("send-as addresses")
        ordering = ("created_at", "id")
        constraints = [
            models.UniqueConstraint(fields=["user", "send_as_email"], name="send_as_once"),
            models.UniqueConstraint(
                fields=["user"], condition=Q(is_default=True), name="one_default_send_as"
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | ~Q(verification_status="pending"),
                name="default_is_not_pending",
            ),
            models.CheckConstraint(
                condition=Q(asked_at=None, proof_due_at=None, suspended_at=None)
                | Q(
                    verification_status="accepted",
                    asked_at__isnull=False,
                    proof_due_at__isnull=False,
                ),
                name="only_proved_addresses_are_asked_again",
            ),
        ]
        indexes = [
            models.Index(fields=["domain"]),
            models.Index(
                fields=["verified_at"],
                condition=Q(verification_status="accepted", asked_at=None),
                name="proofs_that_age",
            ),
            models.Index(
                fields=["proof_due_at"],
                condition=Q(suspended_at=None, proof_due_at__isnull=False),
                name="proofs_asked_for",
            ),
            models.Index(
                fields=["asked_at"], condition=Q(asked_at__isnull=False), name="proofs_by_asking"
            ),
        ]

    def __str__(self) -> str:
        return self.send_as_email

    @property
    def is_pending(self) -> bool:
        return self.verification_status == self.VerificationStatus.PENDING

    @property
    def is_accepted(self) -> bool:
        return self.verification_status == self.VerificationStatus.ACCEPTED

    @property
    def is_asked_again(self) -> bool:
        """Whether its proof has to be repeated: soon, or it is suspended already."""
        return self.proof_due_at is not None

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None

    @property
    def wants_proof(self) -> bool:
        """Whether a code for it is worth anything."""
        return self.is_pending or self.is_asked_again


class ReplyFrom(models.TextChoices):
    RECEIVED = "received", _("The address that the message was sent to")
    DEFAULT = "default", _("Your default address")


class ReplySetting(models.Model):
    """What an account chose for its answers; without a row, the address that was written to."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    reply_from = models.CharField(max_length=8, choices=ReplyFrom.choices)

    def __str__(self) -> str:
        return f"{self.user_id}: {self.reply_from}"

import uuid
from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Case, Q, When
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from sendas.models.send_as import SendAs
from sendas.models.troubles import Trouble, kinds_of
from smtp.target import Security


class Approval(models.TextChoices):
    """Whether an administrator has let a gateway be used, where a unit's guardrails ask for it."""

    NOT_NEEDED = "", _("Not needed")
    WAITING = "waiting", _("Waiting for approval")
    APPROVED = "approved", _("Approved")
    REFUSED = "refused", _("Refused")


class SmtpMsaQuerySet(models.QuerySet["SmtpMsa"]):
    def with_password(self) -> "SmtpMsaQuerySet":
        return self.filter(wiped_at=None)

    def failing(self) -> models.QuerySet[Any]:
        """Whose password was refused, or that their last check found in other trouble.

        Each with its `trouble`, and `failed_at`: since when. A check says nothing any more once the
        next one should have been made.
        """
        found_so = Q(wiped_at=None, checked_at__gt=Now() - SmtpMsa.CHECK_HOLDS)
        failed = ~Q(check_failure="") & found_so
        troubles = (Trouble.UNREACHABLE, Trouble.ENCRYPTION, Trouble.CERTIFICATE)
        return self.filter(Q(refused_at__isnull=False) | failed).annotate(
            failed_at=Coalesce("refused_at", "failing_since", "checked_at"),
            trouble=Case(
                When(refused_at__isnull=False, then=models.Value(Trouble.REFUSED.value)),
                *(
                    When(check_failure__in=kinds_of(each), then=models.Value(each.value))
                    for each in troubles
                ),
                default=models.Value(Trouble.SIGN_IN.value),
            ),
        )

    def without_working_password(self) -> "SmtpMsaQuerySet":
        return self.filter(Q(refused_at__isnull=False) | Q(wiped_at__isnull=False))

    def to_check(self) -> "SmtpMsaQuerySet":
        """Whose password is to be tried, unless it is known to work."""
        return self.filter(check_due_at__lte=Now(), refused_at=None, wiped_at=None)


class SmtpMsa(models.Model):
    """The gateway of a send-as address: its own SMTP server and the credential for it.

    The credential is encrypted and bound to this row's address, host, port, TLS mode and user
    name (sendas/credentials.py). `credential_id` is new with every password: connections are
    pooled by it, so none outlives the password it was opened with.
    """

    # From one night's check to the end of the next one's, and a bit.
    CHECK_HOLDS = timedelta(hours=30)

    SECURITY_CHOICES = [
        (Security.STARTTLS.value, _("STARTTLS, certificate checked")),
        (Security.SSL.value, _("TLS from the start, certificate checked")),
    ]

    send_as = models.OneToOneField(
        SendAs, on_delete=models.CASCADE, related_name="smtp_msa", verbose_name=_("address")
    )
    host = models.CharField(_("server"), max_length=253)
    port = models.PositiveIntegerField(_("port"))
    security_mode = models.CharField(_("encryption"), max_length=8, choices=SECURITY_CHOICES)
    username = models.CharField(_("user name"), max_length=254)
    credential_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key_id = models.CharField(max_length=40, editable=False)
    ciphertext = models.BinaryField(editable=False)
    signed_in_at = models.DateTimeField(_("last signed in"), null=True, editable=False)
    # Set when the server refused the password: it is not tried again
    # until its owner tests it or a new one.
    refused_at = models.DateTimeField(_("password refused"), null=True, editable=False)
    refusal = models.CharField(_("reply of the server"), max_length=500, editable=False)
    # Somebody tries the password, which may be wrong, and nobody else does until then.
    claimed_until = models.DateTimeField(null=True, editable=False)
    # When a check is due that tries it, and what came of the last one: "" where it was taken.
    check_due_at = models.DateTimeField(db_default=Now(), editable=False)
    checked_at = models.DateTimeField(_("last checked"), null=True, editable=False)
    check_failure = models.CharField(
        _("check failed by"), max_length=30, blank=True, editable=False
    )
    # Since when each check has found the same trouble.
    failing_since = models.DateTimeField(_("checks fail since"), null=True, editable=False)
    # Set when an administrator had the passwords of this host wiped; the rest is kept.
    wiped_at = models.DateTimeField(_("password wiped"), null=True, editable=False)
    approval = models.CharField(
        _("approval"),
        max_length=8,
        choices=Approval.choices,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    approval_since = models.DateTimeField(_("approval since"), null=True, editable=False)
    approval_reason = models.CharField(
        _("reason"), max_length=500, blank=True, default="", db_default="", editable=False
    )

    objects = SmtpMsaQuerySet.as_manager()

    class Meta:
        verbose_name = _("SMTP server of an address")
        verbose_name_plural = _("SMTP servers of addresses")
        constraints = [
            models.CheckConstraint(
                condition=Q(wiped_at=None) | Q(ciphertext=b"", key_id="", refused_at=None),
                name="nothing_is_left_of_a_wiped_password",
            )
        ]
        indexes = [
            models.Index(fields=["host"], condition=Q(wiped_at=None), name="stored_by_host"),
            models.Index(
                fields=["approval_since"],
                condition=Q(approval__in=[Approval.WAITING, Approval.REFUSED]),
                name="unapproved_gateways",
            ),
            models.Index(
                fields=["host"], condition=Q(claimed_until__isnull=False), name="tried_now_by_host"
            ),
            models.Index(
                fields=["host"], condition=Q(refused_at__isnull=False), name="refused_by_host"
            ),
            models.Index(
                fields=["host"],
                condition=~Q(check_failure="") & Q(wiped_at=None),
                name="failed_checks_by_host",
            ),
            models.Index(
                fields=["check_due_at"],
                condition=Q(refused_at=None, wiped_at=None),
                name="checks_by_turn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def has_password(self) -> bool:
        return self.wiped_at is None

    @property
    def works(self) -> bool:
        """Whether a password is stored that is not known to be refused."""
        return self.has_password and self.refused_at is None

    @property
    def is_in_doubt(self) -> bool:
        """Whether a password is stored that the server refused, or that the last check failed."""
        return self.has_password and bool(self.refused_at or self.check_failure)

    @property
    def trouble_words(self) -> str:
        """Of a row of `failing`."""
        return str(Trouble(getattr(self, "trouble", Trouble.SIGN_IN)).label)


class SmartHostCredentialQuerySet(models.QuerySet["SmartHostCredential"]):
    def with_password(self) -> "SmartHostCredentialQuerySet":
        return self.filter(wiped_at=None)


class SmartHostCredential(models.Model):
    """The sign-in of an outbound gateway that an administrator named, for that server only.

    A setting's value names it by its id, so it is never changed but to be wiped, and outlives its
    value: an undo may bring that back.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    security_mode = models.CharField(max_length=8)
    username = models.CharField(max_length=254)
    key_id = models.CharField(max_length=40)
    ciphertext = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    # As in SmtpMsa.
    wiped_at = models.DateTimeField(null=True)

    objects = SmartHostCredentialQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(wiped_at=None) | Q(ciphertext=b"", key_id=""),
                name="nothing_is_left_of_a_wiped_sign_in",
            )
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def has_password(self) -> bool:
        return self.wiped_at is None


class ConnectionTest(models.Model):
    """That an account had a server tested: a few an hour, so that it is no port scanner."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["user", "at"])]

    def __str__(self) -> str:
        return f"{self.user_id} {self.at}"

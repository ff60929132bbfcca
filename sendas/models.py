import uuid
from datetime import timedelta

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from smtp.client import Security

CODE_TRIES = 5


class Approval(models.TextChoices):
    """Whether an administrator has let a gateway be used, where a unit's guardrails ask for it."""

    NOT_NEEDED = "", _("Not needed")
    WAITING = "waiting", _("Waiting for approval")
    APPROVED = "approved", _("Approved")
    REFUSED = "refused", _("Refused")


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


class SmtpMsaQuerySet(models.QuerySet["SmtpMsa"]):
    def with_password(self) -> "SmtpMsaQuerySet":
        return self.filter(wiped_at=None)

    def refused(self) -> "SmtpMsaQuerySet":
        return self.filter(refused_at__isnull=False)

    def to_check(self) -> "SmtpMsaQuerySet":
        """Whose password is to be tried, unless it is known to work."""
        return self.filter(check_due_at__lte=Now(), refused_at=None, wiped_at=None)


class SmtpMsa(models.Model):
    """The gateway of a send-as address: its own SMTP server and the credential for it.

    The credential is encrypted and bound to this row's address, host, port, TLS mode and user
    name (sendas/credentials.py). `credential_id` is new with every password: connections are
    pooled by it, so none outlives the password it was opened with.
    """

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
    # Set when the server refused the password: nothing is tried again until a new one is tested.
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


class SmartHostCredential(models.Model):
    """The sign-in of an outbound gateway that an administrator named, for that server only.

    A setting's value names it by its id, so it is never changed and outlives its value: an undo may
    bring that back.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField()
    security_mode = models.CharField(max_length=8)
    username = models.CharField(max_length=254)
    key_id = models.CharField(max_length=40)
    ciphertext = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


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


class ConnectionTest(models.Model):
    """That an account had a server tested: a few an hour, so that it is no port scanner."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["user", "at"])]

    def __str__(self) -> str:
        return f"{self.user_id} {self.at}"


class MailDomain(models.Model):
    """What a domain's records said when it last answered: of outside addresses, and our own.

    `spf` holds a result (sendas/spf.py) for each server that is in use for the domain's addresses;
    for our own domains, under "", that for our outgoing addresses.
    """

    class Policy(models.TextChoices):
        """As in sendas/dmarc.py."""

        UNKNOWN = "", _("Not known")
        ABSENT = "absent", _("No record")
        NONE = "none", _("Refuse nothing")
        QUARANTINE = "quarantine", _("Treat as suspicious")
        REJECT = "reject", _("Reject")

    name = models.CharField(_("domain"), max_length=253, unique=True)
    policy = models.CharField(
        _("DMARC policy"), max_length=10, choices=Policy.choices, blank=True, editable=False
    )
    organisational_domain = models.CharField(
        _("organisational domain"), max_length=253, blank=True, editable=False
    )
    strict_spf = models.BooleanField(default=False, editable=False)
    strict_dkim = models.BooleanField(default=False, editable=False)
    spf = models.JSONField(_("SPF"), default=dict, editable=False)
    answered_at = models.DateTimeField(_("last answered"), null=True, editable=False)
    due_at = models.DateTimeField(_("asked again"), db_default=Now(), editable=False, db_index=True)

    class Meta:
        verbose_name = _("mail domain")
        verbose_name_plural = _("mail domains")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


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


class HostIncidentQuerySet(models.QuerySet["HostIncident"]):
    def open(self) -> "HostIncidentQuerySet":
        return self.filter(ended_at=None)

    def due(self) -> "HostIncidentQuerySet":
        """Those that nobody has been told yet, and nobody is just being told."""
        return self.filter(mailed_at=None, next_try_at__lte=Now())


class HostIncident(models.Model):
    """Many accounts at one server failed within an hour: super administrators hear once.

    `accounts` as they were counted then. It ends after an hour without another refusal.
    """

    host = models.CharField(max_length=253)
    accounts = models.PositiveIntegerField()
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(db_default=Now())
    mailed_at = models.DateTimeField(null=True)

    objects = HostIncidentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["host"], condition=Q(ended_at=None), name="one_open_incident_a_host"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"], condition=Q(mailed_at=None), name="unmailed_incidents"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}: {self.accounts}"

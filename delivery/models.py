import uuid
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class Delivery(models.Model):
    """One message that somebody handed in, where it went and why; kept when all else is gone.

    The row is committed as *handing over* before the upstream gets the final dot, so no message
    leaves without a trace. A row that stays so means that the upstream's answer was not heard.
    """

    class State(models.TextChoices):
        HANDING_OVER = "handing_over", _("Handing over")
        DELIVERED = "delivered", _("Taken by the server")
        REFUSED = "refused", _("Refused")

    class RouteKind(models.TextChoices):
        NONE = "", _("None")
        DEFAULT = "default", _("By our servers")
        GATEWAY = "gateway", _("Through the address's own server")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("handed in"), db_default=Now(), db_index=True)
    finished_at = models.DateTimeField(_("answered"), null=True)
    account = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        related_name="deliveries",
        db_index=False,  # the one with the time behind it does
        verbose_name=_("account"),
    )
    account_address = models.CharField(_("account's address"), max_length=254)
    from_address = models.CharField(_("From"), max_length=254, blank=True)
    message_id = models.CharField(_("Message-ID"), max_length=998, blank=True)
    size = models.PositiveBigIntegerField(_("size in octets"), default=0)
    state = models.CharField(_("state"), max_length=12, choices=State.choices)
    route = models.CharField(_("route"), max_length=7, choices=RouteKind.choices, blank=True)
    server = models.CharField(_("server"), max_length=260, blank=True)
    tls_version = models.CharField(_("TLS"), max_length=10, blank=True)
    envelope_sender = models.CharField(_("envelope sender"), max_length=254, blank=True)
    sender = models.CharField(_("Sender"), max_length=254, blank=True)
    credential_id = models.UUIDField(_("credential"), null=True)
    explanation = models.JSONField(_("explanation"), default=dict)
    reply = models.CharField(_("reply"), max_length=1000, blank=True)
    # By step, from delivery/relay.py; without "connect" the connection was a kept one.
    times = models.JSONField(_("milliseconds"), default=dict, db_default={})
    # The message in the outbox that this was an attempt at; None for what was never kept there.
    outbox_message = models.ForeignKey(
        "OutboxMessage",
        on_delete=models.SET_NULL,
        null=True,
        related_name="deliveries",
        db_index=False,
        verbose_name=_("message in the outbox"),
    )

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["account", "-created_at"]),
            models.Index(
                fields=["outbox_message"],
                condition=Q(outbox_message__isnull=False),
                name="attempts_of_outbox",
            ),
        ]

    def __str__(self) -> str:
        return self.from_address or self.account_address


class DeliveryRecipient(models.Model):
    """Recipients stand apart from the delivery, so that they can be kept for a shorter time."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="recipients")
    address = models.CharField(_("recipient"), max_length=254)

    class Meta:
        verbose_name = _("recipient")
        verbose_name_plural = _("recipients")
        ordering = ("id",)

    def __str__(self) -> str:
        return self.address


class RuleChange(models.Model):
    """A statement that may have changed a decision; triggers write it (migration 0002).

    delivery/watch.py reads the sum of `amount`, and sums up old rows into one.
    """

    amount = models.PositiveBigIntegerField(db_default=1)

    def __str__(self) -> str:
        return str(self.pk)


class RecipientCountQuerySet(models.QuerySet["RecipientCount"]):
    def past(self) -> "RecipientCountQuerySet":
        """Counts that lie before every window."""
        return self.filter(bucket__lt=Now() - RecipientCount.KEPT)


class RecipientCount(models.Model):
    """How many recipients an account wrote to in ten minutes.

    Only the SQL function `take_recipients` adds to it (delivery/limits.py).
    """

    KEPT = timedelta(hours=25)

    pk = models.CompositePrimaryKey("account_id", "bucket")
    # No foreign key: the row is worth nothing after a day, and counting must cost little.
    account_id = models.UUIDField()
    bucket = models.DateTimeField(db_index=True)
    recipients = models.PositiveIntegerField()

    objects = RecipientCountQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.account_id} from {self.bucket:%H:%M}: {self.recipients}"


class LimitReportQuerySet(models.QuerySet["LimitReport"]):
    def due(self) -> "LimitReportQuerySet":
        """Reports that nobody has been told yet, and nobody is just being told."""
        return self.filter(mailed_at=None, next_try_at__lte=Now())


class LimitReport(models.Model):
    """That an account reached its limit of recipients on a day: its administrators hear once."""

    class Window(models.TextChoices):
        HOUR = "hour", _("an hour")
        DAY = "day", _("a day")

    account = models.ForeignKey(User, on_delete=models.CASCADE, related_name="limit_reports")
    day = models.DateField()
    window = models.CharField(max_length=4, choices=Window.choices)
    limit = models.PositiveIntegerField()
    reached_at = models.DateTimeField(db_default=Now(), db_index=True)
    next_try_at = models.DateTimeField(db_default=Now())
    mailed_at = models.DateTimeField(null=True)

    objects = LimitReportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "day"], name="one_report_a_day"),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"], condition=models.Q(mailed_at=None), name="unmailed_reports"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.limit} recipients {self.get_window_display()}"


class OutboxQuerySet(models.QuerySet["OutboxMessage"]):
    def due(self) -> "OutboxQuerySet":
        """What may be attempted now, by PostgreSQL's clock, the longest waiting first."""
        return self.filter(state__in=OutboxMessage.UNDER_WAY, next_attempt_at__lte=Now()).order_by(
            "next_attempt_at"
        )


class OutboxMessage(models.Model):
    """A message that was taken and has still to be handed to the responsible server.

    `next_attempt_at` is also the end of a claim: a row that is *sending* and due again belongs to a
    worker that died. `attempts` counts the claims; each of them may only be settled under its own
    number. The content (OutboxChunk) goes as soon as the message is sent, failed or discarded; what
    was written on a page is kept for a while when it fails, for its author to open it again.
    """

    class State(models.TextChoices):
        STORING = "storing", _("Being stored")
        WAITING = "waiting", _("Waiting")
        SENDING = "sending", _("Sending")
        HELD = "held", _("Held")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")
        DISCARDED = "discarded", _("Discarded")

    class Source(models.TextChoices):
        SMTP = "smtp", _("Mail program")
        COMPOSE = "compose", _("Compose page")
        API = "api", _("API")
        REPORT = "report", _("Delivery report")

    UNDER_WAY = (State.WAITING, State.SENDING, State.HELD)
    CONTENT_KEPT = timedelta(days=7)  # of a message that failed and was written here

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("stored"), db_default=Now())
    finished_at = models.DateTimeField(_("ended"), null=True)
    source = models.CharField(_("origin"), max_length=7, choices=Source.choices)
    account = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        related_name="outbox",
        verbose_name=_("account"),
    )
    account_address = models.CharField(_("account's address"), max_length=254)
    from_address = models.CharField(_("From"), max_length=254)
    # A read receipt or a report: its reverse-path stays empty, and nobody hears of its failure.
    null_sender = models.BooleanField(_("empty envelope sender"), default=False)
    recipients = ArrayField(models.CharField(max_length=254), verbose_name=_("recipients"))
    message_id = models.CharField(_("Message-ID"), max_length=998, blank=True)
    size = models.PositiveBigIntegerField(_("size in octets"), default=0)
    is_8bit = models.BooleanField(default=False)
    needs_smtputf8 = models.BooleanField(default=False)
    state = models.CharField(_("state"), max_length=9, choices=State.choices)
    next_attempt_at = models.DateTimeField(_("next attempt"), db_default=Now())
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    expires_at = models.DateTimeField(_("given up at"))
    last_reply = models.CharField(_("last reply"), max_length=1000, blank=True)
    # While held: the credential that its server refuses.
    credential_id = models.UUIDField(null=True)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("message in the outbox")
        verbose_name_plural = _("outbox")
        ordering = ("-created_at",)
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("waiting", "sending", "held")),
                name="outbox_under_way",
            ),
            models.Index(fields=["credential_id"], condition=Q(state="held"), name="outbox_held"),
            models.Index(fields=["account", "-created_at"]),
            models.Index(fields=["-created_at"]),
        ]

    def __str__(self) -> str:
        return self.message_id or str(self.pk)

    @property
    def is_under_way(self) -> bool:
        return self.state in self.UNDER_WAY

    @property
    def can_be_discarded(self) -> bool:
        """What is being sent can't be called back."""
        return self.state in (self.State.WAITING, self.State.HELD)

    @property
    def is_written_here(self) -> bool:
        """There is no copy of it in a mail program."""
        return self.source == self.Source.COMPOSE

    @property
    def kept_until(self) -> datetime | None:
        """When the content of a failed message goes, if it is still there."""
        return self.finished_at and self.finished_at + self.CONTENT_KEPT


class OutboxChunk(models.Model):
    """A part of a message's content, encrypted and bound to its place (delivery/sealing.py)."""

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    is_last = models.BooleanField()
    key_id = models.CharField(max_length=40)
    ciphertext = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "number"], name="one_chunk_per_number"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id}/{self.number}"

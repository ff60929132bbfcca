import uuid

from django.db import models
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
        verbose_name=_("account"),
    )
    account_address = models.CharField(_("account's address"), max_length=254)
    from_address = models.CharField(_("From"), max_length=254, blank=True, db_index=True)
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

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["account", "-created_at"])]

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

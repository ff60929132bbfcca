from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class AuditEvent(models.Model):
    """Who did what, for good: the application's database role can neither change nor delete it.

    Accounts and units are named by id and text, not by foreign key, so that history outlives them.
    The unit is the one that the event belongs to: its own, or that of the account it is about.
    """

    at = models.DateTimeField(_("at"), db_default=Now(), editable=False, db_index=True)
    actor_id = models.UUIDField(_("actor's id"), null=True, editable=False)
    actor_address = models.CharField(_("actor"), max_length=254, blank=True, editable=False)
    client_ip = models.GenericIPAddressField(_("network address"), null=True, editable=False)
    name = models.CharField(_("event"), max_length=64, editable=False)
    unit_id = models.BigIntegerField(null=True, editable=False)
    unit_path = models.CharField(_("unit"), max_length=1000, blank=True, editable=False)
    target = models.CharField(_("target"), max_length=1000, editable=False)
    details = models.JSONField(_("details"), default=dict, editable=False)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ("-id",)
        # Each filter of the audit page with its order.
        indexes = [
            models.Index(fields=["unit_id", "id"], name="audit_by_unit"),
            models.Index(fields=["name", "id"], name="audit_by_name"),
            models.Index(fields=["actor_address", "id"], name="audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.target}"

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class AuditEvent(models.Model):
    """Who did what, for good: the application's database role can neither change nor delete it.

    Accounts and units are named by id and text, not by foreign key, so that history outlives them.
    """

    at = models.DateTimeField(_("at"), db_default=Now(), editable=False, db_index=True)
    actor_id = models.UUIDField(_("actor's id"), null=True, editable=False)
    actor_address = models.CharField(_("actor"), max_length=254, blank=True, editable=False)
    client_ip = models.GenericIPAddressField(_("network address"), null=True, editable=False)
    name = models.CharField(_("event"), max_length=64, editable=False)
    target = models.CharField(_("target"), max_length=1000, editable=False)
    details = models.JSONField(_("details"), default=dict, editable=False)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name}: {self.target}"

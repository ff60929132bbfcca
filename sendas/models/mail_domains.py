from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


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

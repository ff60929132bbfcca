from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User

COMMENT_LENGTH = 2_000


class HelpAnswer(models.Model):
    """What an account says of a help page; a second answer about the same page replaces it."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="help_answers", verbose_name=_("account")
    )
    # Its URL without the site, so that support can open it.
    page = models.CharField(_("page"), max_length=200)
    helpful = models.BooleanField(_("helpful"))
    comment = models.TextField(_("comment"), max_length=COMMENT_LENGTH, blank=True)
    answered_at = models.DateTimeField(_("answered"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("answer about a help page")
        verbose_name_plural = _("answers about help pages")
        ordering = ("-answered_at",)
        constraints = [
            models.UniqueConstraint(fields=["user", "page"], name="one_answer_about_a_page")
        ]

    def __str__(self) -> str:
        return self.page

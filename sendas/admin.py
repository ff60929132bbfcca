from django.contrib import admin
from django.utils.translation import gettext_lazy

from accounts.admin import SupportAdmin, SupportInline
from sendas.models import SendAs, SmtpMsa


class SmtpMsaInline(SupportInline):
    """Where the address's mail goes; of its credential only that the server refused it."""

    model = SmtpMsa
    fields = (
        "host",
        "port",
        "security_mode",
        "username",
        "signed_in_at",
        "refused_at",
        "refusal",
    )


@admin.register(SendAs)
class SendAsAdmin(SupportAdmin):
    list_display = ("send_as_email", "user", "verification_status", "server", "is_default")
    list_filter = (
        "verification_status",
        ("smtp_msa", admin.EmptyFieldListFilter),
        ("smtp_msa__refused_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("user", "smtp_msa")
    search_fields = ("send_as_email", "user__primary_address", "user__name", "smtp_msa__host")
    search_help_text = gettext_lazy("Address, account or server")
    fields = (
        "send_as_email",
        "user",
        "display_name",
        "reply_to_address",
        "treat_as_alias",
        "is_default",
        "verification_status",
        "verified_at",
        "created_at",
    )
    inlines = (SmtpMsaInline,)

    @admin.display(description=gettext_lazy("server"), ordering="smtp_msa__host")
    def server(self, send_as: SendAs) -> str:
        msa: SmtpMsa | None = getattr(send_as, "smtp_msa", None)
        return str(msa) if msa else ""

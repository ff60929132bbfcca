from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
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


class ServerFilter(admin.SimpleListFilter):
    title = gettext_lazy("own server")
    parameter_name = "server"
    conditions: ClassVar[dict[str, dict[str, object]]] = {
        "none": {"smtp_msa": None},
        "works": {"smtp_msa__isnull": False, "smtp_msa__refused_at": None},
        "stopped": {"smtp_msa__refused_at__isnull": False},
    }

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            ("none", _("None")),
            ("works", _("Accepts the password")),
            ("stopped", _("Refused the password")),
        ]

    def queryset(self, _request: HttpRequest, rows: QuerySet[SendAs]) -> QuerySet[SendAs]:
        return rows.filter(**self.conditions.get(self.value() or "", {}))


@admin.register(SendAs)
class SendAsAdmin(SupportAdmin):
    list_display = ("send_as_email", "user", "verification_status", "server", "is_default")
    list_filter = ("verification_status", ServerFilter)
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

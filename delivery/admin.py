from django.contrib import admin
from django.utils.translation import gettext_lazy

from accounts.admin import SupportAdmin, SupportInline
from accounts.templatetags.clock import clock_seconds
from delivery.explain import explain
from delivery.models import Delivery, DeliveryRecipient


class DeliveryRecipientInline(SupportInline):
    model = DeliveryRecipient
    fields = ("address",)


@admin.register(Delivery)
class DeliveryAdmin(SupportAdmin):
    list_display = ("handed_in", "account_address", "from_address", "state", "route", "server")
    list_filter = ("state", "route", "created_at")
    search_fields = ("account_address", "from_address", "=message_id", "recipients__address")
    search_help_text = gettext_lazy("Account, From, recipient, or a whole Message-ID")
    fields = (
        "handed_in",
        "finished_at",
        "account",
        "account_address",
        "from_address",
        "message_id",
        "size",
        "state",
        "route",
        "reason",
        "server",
        "tls_version",
        "envelope_sender",
        "sender",
        "reply",
    )
    inlines = (DeliveryRecipientInline,)

    @admin.display(description=gettext_lazy("handed in"), ordering="created_at")
    def handed_in(self, delivery: Delivery) -> str:
        return clock_seconds(delivery.created_at)

    @admin.display(description=gettext_lazy("why this route"))
    def reason(self, delivery: Delivery) -> str:
        return explain(delivery.explanation)

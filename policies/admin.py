from typing import Any

from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin import SupportAdmin, SupportInline
from policies.models import (
    GatewayPolicy,
    PolicyChange,
    RolloutAction,
    RolloutWave,
)
from policies.services import change_progress
from policies.words import value_in_words


def _value_text(setting: str, value: dict[str, Any] | None) -> str:
    return _("Inherit") if value is None else value_in_words(setting, value)


@admin.register(GatewayPolicy)
class GatewayPolicyAdmin(SupportAdmin):
    list_display = ("unit", "setting", "saved_value", "version")
    list_select_related = ("unit",)
    search_fields = ("unit__name",)
    search_help_text = gettext_lazy("Unit")
    fields = ("unit", "setting", "saved_value", "version")

    @admin.display(description=gettext_lazy("saved value"))
    def saved_value(self, policy: GatewayPolicy) -> str:
        return _value_text(policy.setting, policy.value)


class RolloutWaveInline(SupportInline):
    model = RolloutWave
    fields = ("cohort", "due_at", "applied_at", "superseded_at", "paused_at")


class RolloutActionInline(SupportInline):
    model = RolloutAction
    fields = ("at", "kind", "actor_address", "reason")


@admin.register(PolicyChange)
class PolicyChangeAdmin(SupportAdmin):
    list_display = (
        "created_at",
        "unit_path",
        "setting",
        "old_value",
        "new_value",
        "version",
        "actor_address",
    )
    list_filter = ("setting", "created_at")
    search_fields = ("unit_path", "actor_address", "reason")
    search_help_text = gettext_lazy("Unit, administrator or reason")
    fields = (
        "created_at",
        "actor_address",
        "unit_path",
        "setting",
        "old_value",
        "new_value",
        "reason",
        "version",
        "starts_at",
        "complete_by",
        "cancelled_at",
        "progress",
    )
    inlines = (RolloutActionInline, RolloutWaveInline)

    @admin.display(description=gettext_lazy("old value"))
    def old_value(self, change: PolicyChange) -> str:
        return _value_text(change.setting, change.old)

    @admin.display(description=gettext_lazy("new value"))
    def new_value(self, change: PolicyChange) -> str:
        return _value_text(change.setting, change.new)

    @admin.display(description=gettext_lazy("reached"))
    def progress(self, change: PolicyChange) -> str:
        applied, total = change_progress(change)
        return _("%(applied)d of %(total)d waves") % {"applied": applied, "total": total}

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin import SupportAdmin, UserAdmin
from accounts.models import User
from accounts.requests import actor_of
from accounts.templatetags.clock import clock_time
from delivery.explain import explain
from delivery.ladder import ladder
from delivery.models import Delivery, OutboxMessage
from delivery.outbox import discard, retry_now
from delivery.policy_trail import deciding_change, policy_trail
from policies.rules import Rule, rules_of
from policies.services import Forecasts, Step, forecasts
from policies.words import turn_in_words
from sendas.models import SendAs

# The words for `Delivery.times`, in the order of a message.
STEPS: dict[str, Callable[[], str]] = {
    "connect": lambda: _("new connection"),
    "start": lambda: _("envelope"),
    "content": lambda: _("content"),
    "log": lambda: _("log"),
    "dot": lambda: _("answer"),
}


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def _as_number(term: str) -> UUID | None:
    """The delivery's number out of "Outgate 3f2b…", as a mail program shows it, or alone."""
    try:
        return UUID(term.strip("()").removeprefix("Outgate "))
    except ValueError:
        return None


@admin.register(Delivery)
class DeliveryAdmin(SupportAdmin):
    list_display = ("created_at", "account_address", "from_address", "state", "route", "server")
    list_filter = ("state", "route", "created_at")
    search_fields = ("account_address", "from_address", "=message_id", "recipients__address")
    search_help_text = gettext_lazy(
        "Account, From, recipient, a whole Message-ID, or the number that a mail program showed"
    )
    fields = (
        "id",
        "created_at",
        "finished_at",
        "account",
        "account_address",
        "from_address",
        "recipient_addresses",
        "message_id",
        "size",
        "state",
        "route",
        "reason",
        "decision",
        "policy",
        "server",
        "tls_version",
        "envelope_sender",
        "sender",
        "reply",
        "steps",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        """People also paste a Message-ID without its angle brackets, or the number of a reply."""
        term = search_term.strip()
        if number := _as_number(term):
            return queryset.filter(pk=number), False
        found, has_duplicates = super().get_search_results(request, queryset, search_term)
        return found | queryset.filter(message_id=f"<{term}>"), has_duplicates

    @admin.display(description=gettext_lazy("recipients"))
    def recipient_addresses(self, delivery: Delivery) -> str:
        addresses = delivery.recipients.values_list("address", flat=True)
        return ", ".join(addresses) or _("Not kept any more")

    @admin.display(description=gettext_lazy("time by step"))
    def steps(self, delivery: Delivery) -> str:
        return ", ".join(
            _("%(step)s %(time)s ms") % {"step": STEPS[name](), "time": f"{time:.1f}"}
            for name, time in delivery.times.items()
            if name in STEPS
        )

    @admin.display(description=gettext_lazy("why this route"))
    def reason(self, delivery: Delivery) -> str:
        return explain(delivery.explanation)

    @admin.display(description=gettext_lazy("the decision"))
    def decision(self, delivery: Delivery) -> str:
        """Step by step, as the console shows it."""
        rungs = ladder(delivery.explanation)
        if not rungs:
            return ""
        trail = policy_trail(delivery.explanation, before=delivery.created_at)
        shown = {
            "rungs": rungs,
            "trail": trail,
            "change_url": page_of(trail.change) if trail.change else "",
        }
        return render_to_string("delivery/parts/ladder.html", shown)

    @admin.display(description=gettext_lazy("policy that held"))
    def policy(self, delivery: Delivery) -> str:
        stored = delivery.explanation
        if not stored:
            return ""  # refused before the decision was asked
        if not stored.get("deciding_unit"):
            return _("Default (Off)")
        text = _("%(unit)s, version %(version)d") % {
            "unit": stored["deciding_unit"],
            "version": stored["version"],
        }
        change = deciding_change(stored, before=delivery.created_at)
        if change is None:
            return text
        saved_by = _("saved by %(who)s") % {"who": change.actor_address or _("the system")}
        return format_html('<a href="{}">{}</a>, {}', page_of(change), text, saved_by)


@admin.register(OutboxMessage)
class OutboxMessageAdmin(SupportAdmin):
    """What waits and what became of it. Nobody here can read what a message says."""

    list_display = (
        "created_at",
        "account_address",
        "from_address",
        "state",
        "attempts",
        "next_attempt",
    )
    list_filter = ("state", "source", "created_at")
    search_fields = ("account_address", "from_address", "=message_id")
    search_help_text = gettext_lazy("Account, From, or a whole Message-ID")
    fields = (
        "created_at",
        "source",
        "account",
        "account_address",
        "from_address",
        "recipient_addresses",
        "message_id",
        "size",
        "state",
        "attempts",
        "last_reply",
        "next_attempt",
        "expires_at",
        "finished_at",
        "log",
    )
    actions = ("retry", "discard")

    @admin.display(description=gettext_lazy("next attempt"), ordering="next_attempt_at")
    def next_attempt(self, message: OutboxMessage) -> str | None:
        if not message.is_under_way:
            return None
        return date_format(localtime(message.next_attempt_at), "DATETIME_FORMAT")

    @admin.display(description=gettext_lazy("recipients"))
    def recipient_addresses(self, message: OutboxMessage) -> str:
        return ", ".join(message.recipients)

    @admin.display(description=gettext_lazy("attempts in the delivery log"))
    def log(self, message: OutboxMessage) -> str:
        rows = [(page_of(row), row.created_at) for row in message.deliveries.order_by("created_at")]
        return format_html_join(", ", '<a href="{}">{}</a>', rows)

    @admin.action(description=gettext_lazy("Try again now"))
    def retry(self, request: HttpRequest, waiting: QuerySet[OutboxMessage]) -> None:
        actor = actor_of(request)
        count = sum(retry_now(actor=actor, message=message) for message in waiting)
        told = ngettext("%d message is tried again now.", "%d messages are tried again now.", count)
        self._tell(request, told, count, waiting)

    @admin.action(description=gettext_lazy("Discard: nobody gets the message"))
    def discard(self, request: HttpRequest, waiting: QuerySet[OutboxMessage]) -> None:
        actor = actor_of(request)
        count = sum(discard(actor=actor, message=message) for message in waiting)
        told = ngettext("%d message is discarded.", "%d messages are discarded.", count)
        self._tell(request, told, count, waiting)

    def _tell(
        self, request: HttpRequest, told: str, count: int, chosen: QuerySet[OutboxMessage]
    ) -> None:
        """Only what waits or is held can be acted on; the others are named."""
        if count:
            self.message_user(request, told % count, messages.SUCCESS)
        if left := len(chosen) - count:
            told = ngettext(
                "%d message is being sent or has ended, and stays as it is.",
                "%d messages are being sent or have ended, and stay as they are.",
                left,
            )
            self.message_user(request, told % left, messages.WARNING)


def _rule_in_words(rule: Rule) -> str:
    names = {
        "rule": rule.label,
        "value": rule.text,
        "unit": rule.unit,
        "version": rule.version,
    }
    if not rule.unit:
        return _("%(rule)s: %(value)s, by default") % names
    return _("%(rule)s: %(value)s, decided for %(unit)s, version %(version)d") % names


def _step_in_words(step: Step) -> str:
    change = step.change
    names = {
        "change": change.pk,
        "setting": change.get_setting_display(),
        "value": turn_in_words(change.setting, step.before, step.value),
    }
    if step.at is None:
        return _("%(setting)s, change %(change)d, paused; then %(value)s") % names
    names["time"] = clock_time(step.at)
    if step.is_scheduled:
        return _("%(setting)s, change %(change)d, scheduled, by %(time)s; then %(value)s") % names
    return _("%(setting)s, change %(change)d by %(time)s; then %(value)s") % names


def _told(user: Any) -> Forecasts:
    """Read once for a page: each of its fields is asked for the same object."""
    if "told" not in vars(user):
        user.told = forecasts(user)
    return cast("Forecasts", user.told)


class AccountAdmin(UserAdmin):
    """The account with what the apps above it know: its policy, its addresses, its mail."""

    fields = (*UserAdmin.fields, "rules", "on_its_way", "addresses", "mail")

    @admin.display(description=gettext_lazy("settings now"))
    def rules(self, user: User) -> str:
        lines = [(_rule_in_words(rule),) for rule in rules_of(_told(user))]
        return format_html_join("", "<div>{}</div>", lines)

    @admin.display(description=gettext_lazy("on its way to the account"))
    def on_its_way(self, user: User) -> str:
        """Every change that is still to come, with its time and what holds from then on."""
        lines = [(page_of(step.change), _step_in_words(step)) for step in _told(user).steps]
        return format_html_join("", '<div><a href="{}">{}</a></div>', lines)

    @admin.display(description=gettext_lazy("send-as addresses"))
    def addresses(self, user: User) -> str:
        rows = user.send_as.exclude(verification_status=SendAs.VerificationStatus.NOT_NEEDED)
        links = [(page_of(row), row.send_as_email) for row in rows]
        return format_html_join(", ", '<a href="{}">{}</a>', links)

    @admin.display(description=gettext_lazy("deliveries"))
    def mail(self, user: User) -> str:
        url = reverse(
            "admin:delivery_delivery_changelist", query={"account__id__exact": str(user.pk)}
        )
        return format_html('<a href="{}">{}</a>', url, _("Mail that this account handed in"))


admin.site.unregister(User)
admin.site.register(User, AccountAdmin)

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin import SupportAdmin, SupportInline
from accounts.templatetags.clock import clock_time
from sendas.models import MailDomain, SendAs, SmtpMsa
from sendas.services.acceptance import (
    NOTHING_TO_JUDGE,
    Acceptance,
    Judgement,
    judge_address,
)
from sendas.services.failing import failing_hosts

FAILING_SHOWN = 20


class SmtpMsaInline(SupportInline):
    """Where the address's mail goes; of its credential only that the server refused it."""

    model = SmtpMsa
    fields = (
        "host",
        "port",
        "security_mode",
        "username",
        "signed_in_at",
        "checked_at",
        "check_failure",
        "failing_since",
        "refused_at",
        "refusal",
        "wiped_at",
    )


class ServerFilter(admin.SimpleListFilter):
    title = gettext_lazy("own server")
    parameter_name = "server"
    conditions: ClassVar[dict[str, dict[str, object]]] = {
        "none": {"smtp_msa": None},
        "works": {
            "smtp_msa__isnull": False,
            "smtp_msa__refused_at": None,
            "smtp_msa__wiped_at": None,
        },
        "stopped": {"smtp_msa__refused_at__isnull": False},
        "wiped": {"smtp_msa__wiped_at__isnull": False},
    }

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [
            ("none", _("None")),
            ("works", _("Accepts the password")),
            ("stopped", _("Refused the password")),
            ("wiped", _("Its password was wiped")),
        ]

    def queryset(self, _request: HttpRequest, rows: QuerySet[SendAs]) -> QuerySet[SendAs]:
        return rows.filter(**self.conditions.get(self.value() or "", {}))


class FailingServerFilter(admin.SimpleListFilter):
    """The servers with most accounts in one trouble: which, how many and since when."""

    title = gettext_lazy("failing server")
    parameter_name = "failing_at"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        words = _("%(host)s %(trouble)s: %(accounts)s since %(since)s")
        return [
            (
                f"{each.trouble} {each.host}",
                words
                % {
                    "host": each.host,
                    "trouble": each.words,
                    "accounts": each.accounts,
                    "since": clock_time(each.since),
                },
            )
            for each in failing_hosts(SmtpMsa.objects.failing(), FAILING_SHOWN)
        ]

    def queryset(self, _request: HttpRequest, rows: QuerySet[SendAs]) -> QuerySet[SendAs]:
        if not self.value():
            return rows
        trouble, _space, host = str(self.value()).partition(" ")
        failing = SmtpMsa.objects.failing().filter(host=host, trouble=trouble)
        return rows.filter(smtp_msa__in=failing.values("pk"))


class ProofFilter(admin.SimpleListFilter):
    title = gettext_lazy("proof to be repeated")
    parameter_name = "proof"
    conditions: ClassVar[dict[str, dict[str, object]]] = {
        "asked": {"asked_at__isnull": False, "suspended_at": None},
        "suspended": {"suspended_at__isnull": False},
    }

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [("asked", _("Asked for")), ("suspended", _("Overdue: address suspended"))]

    def queryset(self, _request: HttpRequest, rows: QuerySet[SendAs]) -> QuerySet[SendAs]:
        return rows.filter(**self.conditions.get(self.value() or "", {}))


@admin.register(SendAs)
class SendAsAdmin(SupportAdmin):
    list_display = (
        "send_as_email",
        "user",
        "verification_status",
        "suspended_at",
        "server",
        "is_default",
    )
    list_filter = ("verification_status", ProofFilter, ServerFilter, FailingServerFilter)
    list_select_related = ("user", "smtp_msa")
    search_fields = ("send_as_email", "user__primary_address", "user__name", "smtp_msa__host")
    search_help_text = gettext_lazy("Address, account or server")
    fields = (
        "send_as_email",
        "user",
        "display_name",
        "reply_to_address",
        "signature",
        "treat_as_alias",
        "is_default",
        "verification_status",
        "verified_at",
        "asked_at",
        "ask_reason",
        "proof_due_at",
        "suspended_at",
        "created_at",
        "by_own_server",
        "by_our_servers",
    )
    inlines = (SmtpMsaInline,)

    @admin.display(description=gettext_lazy("server"), ordering="smtp_msa__host")
    def server(self, send_as: SendAs) -> str:
        msa: SmtpMsa | None = getattr(send_as, "smtp_msa", None)
        return str(msa) if msa else ""

    @admin.display(description=gettext_lazy("mail through its own server"))
    def by_own_server(self, send_as: SendAs) -> str:
        return _in_words(self._accepted(send_as).own_server)

    @admin.display(description=gettext_lazy("mail by our servers"))
    def by_our_servers(self, send_as: SendAs) -> str:
        return _in_words(self._accepted(send_as).our_servers)

    def _accepted(self, send_as: SendAs) -> Acceptance:
        if not send_as.verification_status:
            return NOTHING_TO_JUDGE  # an own address, whatever its domain
        msa: SmtpMsa | None = getattr(send_as, "smtp_msa", None)
        return judge_address(send_as.user, send_as.send_as_email, msa.host if msa else "")


def _in_words(judgement: Judgement | None) -> str:
    return judgement.text if judgement else ""


@admin.register(MailDomain)
class MailDomainAdmin(SupportAdmin):
    """What the domains of outside addresses, and our own, tell receivers of their mail."""

    list_display = ("name", "policy", "addresses", "answered_at")
    list_filter = ("policy",)
    search_fields = ("name",)
    search_help_text = gettext_lazy("Domain")
    fields = (
        "name",
        "policy",
        "organisational_domain",
        "servers",
        "addresses",
        "answered_at",
        "due_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[MailDomain]:
        in_domain = SendAs.objects.filter(domain=OuterRef("name")).exclude(verification_status="")
        counted = in_domain.order_by().values("domain").annotate(number=Count("pk"))
        domains: QuerySet[MailDomain] = super().get_queryset(request)
        return domains.annotate(address_count=Coalesce(Subquery(counted.values("number")), 0))

    @admin.display(description=gettext_lazy("addresses"))
    def addresses(self, domain: Any) -> int:
        return int(domain.address_count)

    @admin.display(description=gettext_lazy("what its record says of servers (SPF)"))
    def servers(self, domain: MailDomain) -> str:
        ours = _("our outgoing addresses")
        return ", ".join(f"{host or ours}: {result}" for host, result in domain.spf.items())

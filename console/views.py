"""The pages of the console but for the gateway card, which console/gateway_page.py answers."""

from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Privilege
from console.access import (
    AdminRequest,
    administered_change,
    administered_delivery,
    administered_unit,
    for_administrators,
    for_any_administrator,
    for_report_readers,
    for_super_administrators,
    for_unit_savers,
    role_assignment,
    running_changes,
)
from console.administrators_page import administrators_page, own_roles, role_page
from console.approvals_page import approvals_page, count_waiting
from console.audit_page import audit_download, audit_page
from console.change_actions import change_action_page, offered_actions
from console.failing_servers_page import failing_on_overview, failing_servers_page
from console.failure_page import failure_page
from console.gateway_page import ACCESS, ADVANCED, MailPage
from console.guardrails_page import guardrails_page
from console.help_pages import help_gateways
from console.impact_page import impact_file, impact_page
from console.outbound_page import outbound_page
from console.overrides_page import listed, overrides_below, overrides_page
from console.reach import reach_of
from console.rollout import history, load_rollout, load_rollouts, wave_columns
from console.rollouts_page import rollouts_page
from console.setting_pages import PAGES
from console.settings_search import find_places
from console.simulator_pages import message_page, simulator_page
from console.stored_passwords_page import stored_passwords_page, wipe_page
from console.unit_page import UnitPage
from console.unit_setting import GATEWAY, load_unit_setting
from console.unit_tree import UnitTree
from policies.models import GatewayPolicy, PolicyChange

OWN_VALUES_SHOWN = 20
RUNNING_SHOWN = 5


@require_safe
@for_any_administrator
def overview(request: AdminRequest) -> HttpResponse:
    """What is set where, and what rolls out now; to others what they may do."""
    request.administered = request.rights.paths(Privilege.MAIL_SETTINGS)
    if not request.administered:
        return render(request, "console/own_roles.html", {"roles": own_roles(request.user)})
    values, top = _own_values(request), administered_unit(request)
    context = {
        "values": listed(list(values[:OWN_VALUES_SHOWN])),
        "unit_page": PAGES[GATEWAY],
        "more_values": max(values.count() - OWN_VALUES_SHOWN, 0),
        "top": top,
        "setting": load_unit_setting(top),
        "hosts": failing_on_overview(request),
        "rollouts": load_rollouts(running_changes(request)[:RUNNING_SHOWN]),
        "waiting": count_waiting(request),
    }
    return render(request, "console/overview.html", context)


@require_safe
@for_administrators
def failing_servers(request: AdminRequest) -> HttpResponse:
    return failing_servers_page(request)


def _own_values(request: AdminRequest) -> QuerySet[GatewayPolicy]:
    below = Q()
    for path in request.administered:
        below |= Q(unit__path__startswith=path)
    return overrides_below("").filter(below)


@require_safe
@for_any_administrator
def search(request: AdminRequest) -> HttpResponse:
    """Where a setting is, by a word of it; what may begin an address leads to the accounts."""
    text = request.GET.get("q", "").strip()
    is_word = len(text.split()) == 1
    sees_accounts = request.rights.paths(Privilege.MAIL_SETTINGS, Privilege.USERS)
    is_account = is_word and bool(sees_accounts)
    context = {
        "search": text,
        "found": find_places(text, request.rights),
        "accounts_url": reverse("console:accounts", query={"q": text}) if is_account else "",
    }
    return render(request, "console/search.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_any_administrator
def gateway_help(request: AdminRequest) -> HttpResponse:
    return help_gateways(request)


@require_safe
@for_administrators
def overrides(request: AdminRequest, unit_id: int) -> HttpResponse:
    return overrides_page(request, administered_unit(request, unit_id))


@require_safe
@for_administrators
def mail(request: AdminRequest) -> HttpResponse:
    context = {
        "path": [(_("Apps"), ""), (_("Suite"), ""), (_("Mail"), "")],
        "setting": load_unit_setting(administered_unit(request)),
        "waiting": count_waiting(request),
    }
    return render(request, "console/mail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_savers
def mail_advanced(request: AdminRequest, unit_id: int | None = None) -> HttpResponseBase:
    return _of_unit(request, unit_id, ADVANCED)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_savers
def mail_access(request: AdminRequest, unit_id: int | None = None) -> HttpResponseBase:
    return _of_unit(request, unit_id, ACCESS)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_savers
def guardrails(request: AdminRequest, unit_id: int | None = None) -> HttpResponseBase:
    return _of_unit(request, unit_id, guardrails_page)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_savers
def outbound_gateway(request: AdminRequest, unit_id: int | None = None) -> HttpResponseBase:
    return _of_unit(request, unit_id, outbound_page)


@require_http_methods(["GET", "HEAD", "POST"])
@for_unit_savers
def gateway_failure(request: AdminRequest, unit_id: int | None = None) -> HttpResponseBase:
    return _of_unit(request, unit_id, failure_page)


def _of_unit(
    request: AdminRequest, unit_id: int | None, page: MailPage | UnitPage
) -> HttpResponseBase:
    """Who posts a form of a unit that he can't change any more has it back as he typed it."""
    try:
        unit = administered_unit(request, unit_id)
    except Http404:
        if request.method != "POST" or unit_id is None:
            raise
        return page.lost(request, unit_id)
    return page(request, unit)


@require_http_methods(["GET", "HEAD", "POST"])
@for_administrators
def approvals(request: AdminRequest) -> HttpResponse:
    return approvals_page(request)


@require_safe
@for_administrators
def impact(request: AdminRequest, unit_id: int, slug: str = "") -> HttpResponse:
    return impact_page(request, administered_unit(request, unit_id), slug)


@require_safe
@for_administrators
def impact_download(request: AdminRequest, unit_id: int, slug: str = "") -> HttpResponseBase:
    return impact_file(request, administered_unit(request, unit_id), slug)


@require_safe
@for_administrators
def units_below(
    request: AdminRequest, unit_id: int, page: str, setting: str = GATEWAY
) -> HttpResponse:
    """One level of the unit tree, for the script that opens it in place."""
    unit = administered_unit(request, unit_id)
    nodes = UnitTree(request, page, setting).nodes_below(unit)
    return render(request, "parts/tree.html", {"nodes": nodes})


@require_safe
@for_report_readers
def audit(request: AdminRequest) -> HttpResponse:
    return audit_page(request)


@require_safe
@for_report_readers
def audit_file(request: AdminRequest, kind: str) -> HttpResponseBase:
    return audit_download(request, kind)


@require_http_methods(["GET", "HEAD", "POST"])
@for_super_administrators
def administrators(request: AdminRequest) -> HttpResponse:
    return administrators_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
@for_super_administrators
def role(request: AdminRequest, assignment_id: int) -> HttpResponse:
    return role_page(request, role_assignment(request, assignment_id))


@require_safe
@for_administrators
def rollouts(request: AdminRequest) -> HttpResponse:
    return rollouts_page(request)


@require_safe
@for_administrators
def rollout(request: AdminRequest, change_id: int) -> HttpResponse:
    """One change: who saved what, and how far it is. The live part alone for htmx."""
    change = administered_change(request, change_id)
    shown = load_rollout(change)
    reach = reach_of(change, shown.unit, shown.applied)
    newer = _next_change(change)
    context = {
        "rollout": shown,
        "actions": offered_actions(shown, newer),
        "reach": reach,
        "waves": wave_columns(shown, reach.by_cohort),
        "events": history(shown, reach.by_cohort),
        "path": [(_("Rollouts"), reverse("console:rollouts")), (_("Change %d") % change.pk, "")],
        "newer": newer,
        "unit_page": PAGES[change.setting],
        "announce": shown.is_news(request.GET.get("seen")),
    }
    template = "console/rollout.html#live" if request.htmx else "console/rollout.html"
    return render(request, template, context)


@require_safe
@for_administrators
def running_rollout(request: AdminRequest) -> HttpResponse:
    """What the top bar says of the newest change that rolls out; nothing while none does."""
    return render(
        request,
        "console/parts/topbar_rollout.html",
        {"running": load_rollouts(running_changes(request)[:1])},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@for_administrators
def rollout_action(request: AdminRequest, change_id: int, action: str) -> HttpResponse:
    return change_action_page(request, administered_change(request, change_id), action)


@require_safe
@for_administrators
def simulator(request: AdminRequest) -> HttpResponse:
    return simulator_page(request)


@require_safe
@for_administrators
def message(request: AdminRequest, delivery_id: UUID) -> HttpResponse:
    return message_page(request, administered_delivery(request, delivery_id))


def _next_change(change: PolicyChange) -> PolicyChange | None:
    if change.version is None:
        return None
    return (
        PolicyChange.objects.filter(
            unit_id=change.unit_id, setting=change.setting, version__gt=change.version
        )
        .order_by("version")
        .first()
    )


@require_safe
@for_super_administrators
def stored_passwords(request: AdminRequest) -> HttpResponseBase:
    """Servers outside, with how many passwords for them are stored."""
    return stored_passwords_page(request)


@require_http_methods(["GET", "HEAD", "POST"])
@for_super_administrators
def wipe_passwords(request: AdminRequest, host: str) -> HttpResponseBase:
    """Ask, then wipe all of one server."""
    return wipe_page(request, host)

"""The pages of the console but for the gateway card, which console/gateway_page.py answers."""

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from console.access import (
    AdminRequest,
    administered_account,
    administered_change,
    administered_changes,
    administered_unit,
    administered_units,
    for_administrators,
    running_changes,
)
from console.account_pages import account_apply_now_page, account_list, account_page
from console.change_actions import change_action_page, offered_actions
from console.gateway_page import ACCESS, ADVANCED, gateway_page
from console.reach import reach_of
from console.rollout import history, load_rollout, load_rollouts, wave_columns
from console.unit_setting import GATEWAY, load_unit_setting
from console.unit_tree import UnitTree
from console.wording import on_or_off
from policies.models import GatewayPolicy, PolicyChange

ROLLOUTS_PER_PAGE = 25
OWN_VALUES_SHOWN = 20
RUNNING_SHOWN = 5


@require_safe
@for_administrators
def overview(request: AdminRequest) -> HttpResponse:
    """What is set where, and what rolls out now."""
    tree = UnitTree(request, ADVANCED.view_name, GATEWAY)
    values = GatewayPolicy.objects.filter(
        unit__in=administered_units(request), setting=GATEWAY, value__isnull=False
    ).select_related("unit")
    shown = values.order_by("unit__path")[:OWN_VALUES_SHOWN]
    context = {
        "values": [
            {
                "unit": row.unit,
                "way": tree.way_to(row.unit)[:-1],
                "text": on_or_off(row.value),
                "accounts": tree.accounts[row.unit.path],
            }
            for row in shown
        ],
        "more_values": max(len(tree.values) - OWN_VALUES_SHOWN, 0),
        "rollouts": load_rollouts(running_changes(request)[:RUNNING_SHOWN]),
    }
    return render(request, "console/overview.html", context)


@require_safe
@for_administrators
def mail(request: AdminRequest) -> HttpResponse:
    context = {
        "path": [(_("Apps"), ""), (_("Suite"), ""), (_("Mail"), "")],
        "setting": load_unit_setting(administered_unit(request)),
    }
    return render(request, "console/mail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_administrators
def mail_advanced(request: AdminRequest, unit_id: int | None = None) -> HttpResponse:
    return gateway_page(request, ADVANCED, administered_unit(request, unit_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_administrators
def mail_access(request: AdminRequest, unit_id: int | None = None) -> HttpResponse:
    return gateway_page(request, ACCESS, administered_unit(request, unit_id))


@require_safe
@for_administrators
def units_below(request: AdminRequest, unit_id: int, page: str) -> HttpResponse:
    """One level of the unit tree, for the script that opens it in place."""
    unit = administered_unit(request, unit_id)
    nodes = UnitTree(request, page, GATEWAY).nodes_below(unit)
    return render(request, "parts/tree.html", {"nodes": nodes})


@require_safe
@for_administrators
def rollouts(request: AdminRequest) -> HttpResponse:
    """All changes, newest first."""
    paginator = Paginator(administered_changes(request), ROLLOUTS_PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    context = {"page": page, "rollouts": load_rollouts(page)}
    return render(request, "console/rollouts.html", context)


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
def accounts(request: AdminRequest) -> HttpResponse:
    return account_list(request)


@require_safe
@for_administrators
def account(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return account_page(request, administered_account(request, account_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_administrators
def account_apply_now(request: AdminRequest, account_id: UUID) -> HttpResponse:
    return account_apply_now_page(request, administered_account(request, account_id))


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

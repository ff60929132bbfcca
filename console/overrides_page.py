"""Which units have a value of their own: at one unit and below, setting by setting."""

from typing import NamedTuple

from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from console.access import AdminRequest
from console.account_counts import accounts_with_below
from console.setting_pages import PAGES
from console.unit_setting import GATEWAY
from console.unit_tree import ways_to
from policies.models import GatewayPolicy, Setting
from policies.words import value_in_words

OVERRIDES_PER_PAGE = 50


class Override(NamedTuple):
    unit: OrgUnit
    way: list[OrgUnit]
    text: str
    accounts: int


class Tab(NamedTuple):
    """One setting to choose: how many units have a value of their own for it."""

    setting: Setting
    number: int
    is_current: bool


def overrides_below(path: str, setting: str = GATEWAY) -> QuerySet[GatewayPolicy]:
    """The own values at that path and below, in the order of the tree."""
    rows: QuerySet[GatewayPolicy] = GatewayPolicy.objects.filter(
        unit__path__startswith=path, setting=setting, value__isnull=False
    )
    return rows.select_related("unit").order_by("unit__path")


def listed(policies: list[GatewayPolicy]) -> list[Override]:
    """With the way to each unit and its accounts: two queries."""
    ways = ways_to(policy.unit for policy in policies)
    accounts = accounts_with_below(policy.unit.path for policy in policies)
    return [
        Override(
            unit=policy.unit,
            way=ways[policy.unit.path][:-1],
            text=value_in_words(policy.setting, policy.value or {}),
            accounts=accounts[policy.unit.path],
        )
        for policy in policies
    ]


def overrides_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    """Those of the setting that the address names, or of the first."""
    setting = _setting(request)
    paginator = Paginator(overrides_below(unit.path, setting), OVERRIDES_PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    context = {
        "unit": unit,
        "setting": setting,
        "tabs": _tabs(unit, setting),
        "unit_page": PAGES[setting],
        "page": page,
        "values": listed(list(page)),
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (_("Mail"), reverse("console:mail")),
            (_("Own values"), ""),
        ],
    }
    return render(request, "console/overrides.html", context)


def _setting(request: AdminRequest) -> Setting:
    named = request.GET.get("setting", GATEWAY)
    if named not in Setting:
        raise Http404
    return Setting(named)


def _tabs(unit: OrgUnit, current: Setting) -> list[Tab]:
    """One query."""
    rows = GatewayPolicy.objects.filter(unit__path__startswith=unit.path, value__isnull=False)
    numbers = dict(rows.order_by().values_list("setting").annotate(Count("pk")))
    return [Tab(each, numbers.get(each, 0), each == current) for each in Setting]

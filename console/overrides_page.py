"""Which units have a value of their own: at one unit and below."""

from typing import NamedTuple

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from console.access import AdminRequest
from console.account_counts import accounts_with_below
from console.unit_setting import GATEWAY
from console.unit_tree import ways_to
from policies.models import GatewayPolicy
from policies.words import value_in_words

OVERRIDES_PER_PAGE = 50


class Override(NamedTuple):
    unit: OrgUnit
    way: list[OrgUnit]
    text: str
    accounts: int


def overrides_below(path: str) -> QuerySet[GatewayPolicy]:
    """The own values at that path and below, in the order of the tree."""
    rows: QuerySet[GatewayPolicy] = GatewayPolicy.objects.filter(
        unit__path__startswith=path, setting=GATEWAY, value__isnull=False
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
    paginator = Paginator(overrides_below(unit.path), OVERRIDES_PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    context = {
        "unit": unit,
        "page": page,
        "values": listed(list(page)),
        "path": [(_("Apps"), ""), (_("Suite"), ""), (_("Mail"), ""), (_("Own values"), "")],
    }
    return render(request, "console/overrides.html", context)

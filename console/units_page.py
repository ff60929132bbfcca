"""The units: the tree, and one of them with what can be done to it."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import AccountCount, OrgUnit, Privilege
from console.access import AdminRequest
from console.unit_tree import UnitTree, way_to


def unit_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    tree, search = UnitTree(request, "console:unit"), request.GET.get("q", "").strip()
    way = way_to(unit)
    context: dict[str, Any] = {
        "unit": unit,
        "url": reverse("console:unit", args=[unit.pk]),
        "way": way,
        "above": way[:-1],
        "accounts": tree.accounts[unit.path],
        "accounts_here": _accounts_in(unit),
        "nodes": tree.found(search, unit) if search else tree.nodes(unit),
        "search": search,
        "reads_mail": request.rights.reach(unit.path, Privilege.MAIL_SETTINGS),
    }
    return render(request, "console/unit.html", context)


def _accounts_in(unit: OrgUnit) -> int:
    rows = AccountCount.objects.filter(unit=unit)
    return sum(rows.values_list("accounts", flat=True))

"""Servers outside that people's addresses can't use, for administrators of the accounts."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render

from console.access import AdminRequest
from sendas.services.failing import FailingHost, failing_below, failing_hosts

HOSTS_SHOWN = 50
ACCOUNTS_PER_PAGE = 25
ON_OVERVIEW = 3


def failing_servers_page(request: AdminRequest) -> HttpResponse:
    """The servers; with `?host=`, the accounts at one of them as well."""
    failing = failing_below(request.administered)
    host = request.GET.get("host", "")
    context: dict[str, Any] = {
        "hosts": failing_hosts(failing, HOSTS_SHOWN),
        "host": host,
        "addresses": None,
    }
    if host:
        rows = failing.filter(host=host).select_related("send_as__user")
        paginator = Paginator(rows.order_by("-failed_at", "pk"), ACCOUNTS_PER_PAGE)
        context["addresses"] = paginator.get_page(request.GET.get("page"))
    return render(request, "console/failing_servers.html", context)


def failing_on_overview(request: AdminRequest) -> list[FailingHost]:
    return failing_hosts(failing_below(request.administered), ON_OVERVIEW)

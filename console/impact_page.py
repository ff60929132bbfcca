"""What a value would change that is not saved yet: in the gateway card, as lists, and as a file."""

from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from console.access import AdminRequest
from console.csv_file import csv_answer, csv_lines
from console.impact import Impact, load_impact
from console.impact_lines import ACCOUNTS, lines_of
from console.impact_lists import HEADING, NAMES, file_rows, page_of
from console.unit_setting import GATEWAY, load_unit_setting
from policies.models import DEFAULTS


def shown_impact(impact: Impact) -> dict[str, Any]:
    """What templates/console/parts/impact.html takes."""
    query = f"?value={impact.state}"
    unit_id = impact.setting.unit.pk
    return {
        "impact": impact,
        "impact_lines": lines_of(impact),
        "impact_url": reverse("console:mail_impact", args=[unit_id]) + query,
        "impact_file": reverse("console:mail_impact_file", args=[unit_id]) + query,
    }


def impact_page(request: AdminRequest, unit: OrgUnit) -> HttpResponse:
    """One of the lists, page by page: each goes on behind the last row of the one before."""
    impact = _asked(request, unit)
    name = request.GET.get("list", ACCOUNTS)
    if name not in NAMES:
        raise Http404
    after = request.GET.get("after", "")
    page = page_of(impact, name, after)
    here = {"value": impact.state, "list": name}
    context = {
        **shown_impact(impact),
        "unit": unit,
        "line": next((line for line in lines_of(impact) if line.name == name), None),
        "rows": page.rows,
        "name": name,
        "after": after,
        "first_url": f"?{urlencode(here)}",
        "next_url": f"?{urlencode({**here, 'after': page.next})}" if page.next else "",
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (_("Mail"), reverse("console:mail")),
            (_("Advanced settings"), reverse("console:mail_advanced", args=[unit.pk])),
            (_("What changes"), ""),
        ],
    }
    return render(request, "console/impact.html", context)


def impact_file(request: AdminRequest, unit: OrgUnit) -> StreamingHttpResponse:
    """Every list, one after the other."""
    lines = csv_lines(HEADING, file_rows(_asked(request, unit)))
    return csv_answer(lines, "outgate-what-changes.csv")


def _asked(request: AdminRequest, unit: OrgUnit) -> Impact:
    """For the value that the address names; the root has no *inherit*, there it is the default."""
    setting = load_unit_setting(unit)
    values = {"on": {"allowed": True}, "off": {"allowed": False}, "inherit": None}
    state = request.GET.get("value")
    if state not in values:
        raise Http404
    value = values[state]
    return load_impact(setting, DEFAULTS[GATEWAY] if value is None and setting.is_root else value)

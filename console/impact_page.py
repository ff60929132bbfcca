"""What a value would change that is not saved yet: in its card, as lists, and as a file."""

from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.models import OrgUnit
from console.access import AdminRequest
from console.csv_file import csv_answer, csv_lines
from console.impact import Impact
from console.impact_lines import ACCOUNTS, lines_of
from console.impact_lists import HEADING, NAMES, file_rows, page_of
from console.impact_loading import load_impact, load_value_impact
from console.setting_pages import PAGES, TITLES
from console.signed_value import shown_value
from console.unit_setting import GATEWAY, load_unit_setting
from policies.models import DEFAULTS, Setting

# How an address names the settings whose value it carries signed.
SLUGS = {
    "outbound-gateway": Setting.OUTBOUND_GATEWAY,
    "own-server-fails": Setting.GATEWAY_FAILURE,
}


def shown_impact(impact: Impact) -> dict[str, Any]:
    """What templates/console/parts/impact.html takes."""
    query = f"?{urlencode({'value': impact.asked})}"
    return {
        "impact": impact,
        "impact_part": "console/parts/impact.html",
        "impact_lines": lines_of(impact),
        "impact_url": _url(impact) + query,
        "impact_file": _url(impact, "_file") + query,
    }


def _url(impact: Impact, kind: str = "") -> str:
    if impact.setting == GATEWAY:
        return reverse(f"console:mail_impact{kind}", args=[impact.unit.pk])
    [slug] = [slug for slug, setting in SLUGS.items() if setting == impact.setting]
    return reverse(f"console:value_impact{kind}", args=[impact.unit.pk, slug])


def impact_page(request: AdminRequest, unit: OrgUnit, slug: str = "") -> HttpResponse:
    """One of the lists, page by page: each goes on behind the last row of the one before."""
    impact = _asked(request, unit, slug)
    name = request.GET.get("list", ACCOUNTS)
    if name not in NAMES:
        raise Http404
    after = request.GET.get("after", "")
    page = page_of(impact, name, after)
    here = {"value": impact.asked, "list": name}
    title, page_url = TITLES[impact.setting], reverse(PAGES[impact.setting], args=[unit.pk])
    context = {
        **shown_impact(impact),
        "unit": unit,
        "line": next((line for line in lines_of(impact) if line.name == name), None),
        "rows": page.rows,
        "name": name,
        "after": after,
        "first_url": f"?{urlencode(here)}",
        "next_url": f"?{urlencode({**here, 'after': page.next})}" if page.next else "",
        "page_title": title,
        "page_url": page_url,
        "path": [
            (_("Apps"), ""),
            (_("Suite"), ""),
            (_("Mail"), reverse("console:mail")),
            (title, page_url),
            (_("What changes"), ""),
        ],
    }
    return render(request, "console/impact.html", context)


def impact_file(request: AdminRequest, unit: OrgUnit, slug: str = "") -> StreamingHttpResponse:
    """Every list, one after the other."""
    lines = csv_lines(HEADING, file_rows(_asked(request, unit, slug)))
    return csv_answer(lines, "outgate-what-changes.csv")


def _asked(request: AdminRequest, unit: OrgUnit, slug: str) -> Impact:
    """For the value that the address carries."""
    asked = request.GET.get("value", "")
    if not slug:
        return _of_first_setting(unit, asked)
    if slug not in SLUGS:
        raise Http404
    setting = SLUGS[slug]
    return load_value_impact(unit, setting, shown_value(setting, asked))


def _of_first_setting(unit: OrgUnit, state: str) -> Impact:
    """The root has no *inherit*, there it is the default."""
    setting = load_unit_setting(unit)
    values = {"on": {"allowed": True}, "off": {"allowed": False}, "inherit": None}
    if state not in values:
        raise Http404
    value = values[state]
    return load_impact(setting, DEFAULTS[GATEWAY] if value is None and setting.is_root else value)

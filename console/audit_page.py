"""Who changed what: the audit as a page, and to download."""

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from console.access import AdminRequest
from console.audit_download import event_lines, json_lines
from console.audit_forms import AuditFilter
from console.audit_words import line_of
from console.csv_file import csv_answer
from console.filtering import page_of

EVENTS_PER_PAGE = 50


def audit_page(request: AdminRequest) -> HttpResponse:
    form = AuditFilter(request)
    events, context = page_of(form, form.events(), EVENTS_PER_PAGE)
    context["lines"] = [line_of(event) for event in events]
    return render(request, "console/audit.html", context)


def audit_download(request: AdminRequest, kind: str) -> HttpResponseBase:
    """All that fits, as it is read from the database; nothing piles up here."""
    form = AuditFilter(request)
    if not form.is_valid():
        return audit_page(request)
    events = form.events().iterator(chunk_size=1000)
    if kind == "csv":
        return csv_answer(event_lines(events), "outgate-audit.csv")
    answer = StreamingHttpResponse(json_lines(events), content_type="application/json")
    answer["Content-Disposition"] = 'attachment; filename="outgate-audit.json"'
    return answer

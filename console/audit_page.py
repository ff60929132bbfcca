"""Who changed what: the audit as a page, and to download."""

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from accounts.models import AuditEvent
from console.access import AdminRequest
from console.audit_download import event_lines, json_lines
from console.audit_forms import AuditFilter
from console.audit_words import line_of
from console.csv_file import csv_answer
from console.row_number import row_number

EVENTS_PER_PAGE = 50


def audit_page(request: AdminRequest) -> HttpResponse:
    """Pages follow each other by the number of their last event: the tenth costs as the first."""
    form = AuditFilter(request)
    events = form.events()
    page = list(_before(events, request)[: EVENTS_PER_PAGE + 1])
    shown, more = page[:EVENTS_PER_PAGE], len(page) > EVENTS_PER_PAGE
    query = request.GET.copy()
    query.pop("before", None)
    filters = query.urlencode()
    query["before"] = str(shown[-1].pk) if shown else ""
    context = {
        "form": form,
        "lines": [line_of(event) for event in shown],
        "filters": filters,
        "filtered": any(form.data.get(name) for name in form.fields),
        "older": query.urlencode() if more else "",
        "on_first": "before" not in request.GET,
    }
    return render(request, "console/audit.html", context)


def _before(events: QuerySet[AuditEvent], request: AdminRequest) -> QuerySet[AuditEvent]:
    number = row_number(request.GET.get("before", ""))
    return events if number is None else events.filter(pk__lt=number)


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

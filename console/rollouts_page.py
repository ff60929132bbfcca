"""All changes, newest first, and which of them to show."""

from django.http import HttpResponse
from django.shortcuts import render

from console.access import AdminRequest
from console.rollout import load_rollouts
from console.rollout_forms import RolloutFilter
from console.row_number import row_number

ROLLOUTS_PER_PAGE = 25


def rollouts_page(request: AdminRequest) -> HttpResponse:
    """Pages follow each other by the number of their last change: the tenth costs as the first."""
    form = RolloutFilter(request)
    changes = form.changes()
    before = row_number(request.GET.get("before", ""))
    if before is not None:
        changes = changes.filter(pk__lt=before)
    page = list(changes[: ROLLOUTS_PER_PAGE + 1])
    shown, more = page[:ROLLOUTS_PER_PAGE], len(page) > ROLLOUTS_PER_PAGE
    query = request.GET.copy()
    query.pop("before", None)
    filters = query.urlencode()
    query["before"] = str(shown[-1].pk) if shown else ""
    context = {
        "form": form,
        "rollouts": load_rollouts(shown),
        "filters": filters,
        "filtered": any(form.data.get(name) for name in form.fields),
        "older": query.urlencode() if more else "",
        "on_first": "before" not in request.GET,
    }
    return render(request, "console/rollouts.html", context)

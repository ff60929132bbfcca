"""All changes, newest first, and which of them to show."""

from django.http import HttpResponse
from django.shortcuts import render

from console.access import AdminRequest
from console.filtering import page_of
from console.rollout import load_rollouts
from console.rollout_forms import RolloutFilter

ROLLOUTS_PER_PAGE = 25


def rollouts_page(request: AdminRequest) -> HttpResponse:
    form = RolloutFilter(request)
    changes, context = page_of(form, form.changes(), ROLLOUTS_PER_PAGE)
    context["rollouts"] = load_rollouts(changes)
    return render(request, "console/rollouts.html", context)

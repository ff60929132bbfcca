from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from accounts.access import signed_in
from accounts.requests import SignedInRequest
from config.health import find_faults, find_troubles


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 while this process reaches the database; else 503."""
    return _tell("not well", find_faults())


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """200 while this process can serve people; else 503 and what is missing."""
    return _tell("not ready", find_troubles())


def _tell(status: str, troubles: list[str]) -> HttpResponse:
    if troubles:
        return JsonResponse({"status": status, "troubles": troubles}, status=503)
    return JsonResponse({"status": "ok"})


def no_page(_request: HttpRequest, **_kwargs: str) -> HttpResponse:
    raise Http404


@require_safe
@signed_in
def home(request: SignedInRequest) -> HttpResponse:
    """Where each person's work is: administrators, support staff, everybody else."""
    user = request.user
    if user.is_admin:
        return redirect("console:overview")
    if user.is_staff:
        return redirect("admin:index")
    return redirect("sendas:list")

"""What mail programs have to know to send through Outgate, for people and for the programs."""

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from accounts.models import Domain
from smtp.address import AddressError, normalise_address, split_address


def submission_settings() -> dict[str, Any]:
    """By the names that templates/accounts/parts/mail_programs.html uses."""
    return {
        "host": settings.OUTGATE_HOSTNAME,
        "starttls_port": settings.OUTGATE_SUBMISSION_PORT,
        "tls_port": settings.OUTGATE_SUBMISSIONS_PORT,
        "incoming": settings.OUTGATE_INCOMING_SERVER,
    }


@cache_control(public=True, max_age=3600)
@require_safe
def autoconfig(request: HttpRequest) -> HttpResponse:
    """The file by which Thunderbird and others set up an account, at the address they look for it.

    Anybody may read it, so it says the same of every address of a domain: no account is looked up.
    """
    domain = _asked_domain(request)
    if domain is None:
        raise Http404
    context = {
        **submission_settings(),
        "domain": domain,
        "base_url": settings.BASE_URL,
    }
    return render(request, "accounts/autoconfig.xml", context, content_type="application/xml")


def _asked_domain(request: HttpRequest) -> Domain | None:
    """The own domain of the address, else the one in the host's name, else the primary one."""
    if address := request.GET.get("emailaddress"):
        return _domain_of(address)
    named = request.get_host().rpartition(":")[0] or request.get_host()
    own = Domain.objects.filter(name=named.lower().removeprefix("autoconfig.")).first()
    return own or Domain.objects.filter(kind=Domain.Kind.PRIMARY).first()


def _domain_of(address: str) -> Domain | None:
    try:
        name = split_address(normalise_address(address))[1]
    except AddressError:
        return None
    return Domain.objects.filter(name=name).first()

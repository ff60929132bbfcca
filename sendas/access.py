"""The only way from a request to an account's addresses: 404 to everybody else."""

from django.http import Http404
from django.shortcuts import get_object_or_404

from accounts.requests import SignedInRequest
from sendas.models import OwnershipProof, SendAs, SmtpMsa
from sendas.services.addresses import ListedAddress, list_addresses
from sendas.services.proof import find_link


def listed_address(request: SignedInRequest, address: str) -> ListedAddress:
    """A line of the signed-in account's own list."""
    for listed in list_addresses(request.user):
        if listed.address == address:
            return listed
    raise Http404


def own_address(request: SignedInRequest, address: str) -> ListedAddress:
    """The primary address or an own alias of the signed-in account."""
    listed = listed_address(request, address)
    if not listed.is_own:
        raise Http404
    return listed


def outside_address(request: SignedInRequest, pk: int) -> SendAs:
    """An outside address that the signed-in account has added."""
    rows = SendAs.objects.exclude(verification_status="").select_related("user__unit", "smtp_msa")
    return get_object_or_404(rows, pk=pk, user=request.user)


def stopped_address(request: SignedInRequest, pk: int) -> SendAs | None:
    """The same, where its server can't be used as its password is refused or wiped; else None."""
    send_as = outside_address(request, pk)
    msa: SmtpMsa | None = getattr(send_as, "smtp_msa", None)
    return send_as if msa and not msa.works else None


def ownership_link(request: SignedInRequest, token: str) -> OwnershipProof | None:
    """The proof behind a link, if it can be used and was sent for the signed-in account."""
    return find_link(request.user, token)

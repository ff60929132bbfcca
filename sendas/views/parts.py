"""What several of these pages need."""

from typing import Any

from django.views.decorators.http import require_http_methods

from accounts.requests import SignedInRequest
from smtp.address import split_address

page = require_http_methods(["GET", "HEAD", "POST"])


def form_data(request: SignedInRequest) -> Any:
    return request.POST if request.method == "POST" else None


def preview(request: SignedInRequest, address: str, display_name: str) -> dict[str, Any]:
    """What the page shows of a message on either route."""
    return {
        "address": address,
        "display_name": display_name,
        "domain": split_address(address)[1],
        "own_domain": split_address(request.user.primary_address)[1],
    }

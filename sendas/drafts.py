"""Addresses that wait for the choice of their server, in the session of who adds them.

Each by itself, so that two browser tabs do not meet. A draft never holds a password.
"""

from typing import Any

from accounts.requests import SignedInRequest
from sendas.services.discovery import propose_settings
from sendas.services.domain_questions import ask_for_page
from smtp.address import split_address

_KEY = "sendas_new"
KEPT = 5

Draft = dict[str, Any]


def draft_in(request: SignedInRequest) -> Draft | None:
    """What was typed in step 1 for the address that the URL names."""
    return _drafts(request).get(request.GET.get("address", ""))


def keep_draft(request: SignedInRequest, typed: dict[str, Any]) -> None:
    """With what is found out about its server and domain; that is asked once for each address."""
    address = typed["address"]
    drafts = _drafts(request)
    before = drafts.pop(address, None)
    if before:
        proposal = before["proposal"]
    else:
        found = propose_settings(user=request.user, address=address)
        ask_for_page(split_address(address)[1], found.host)
        proposal = found._asdict()
    newest = list(drafts.items())[1 - KEPT :]
    request.session[_KEY] = {**dict(newest), address: {**typed, "proposal": proposal}}


def open_drafts(request: SignedInRequest, listed: set[str]) -> list[Draft]:
    """Those whose address was not added in another way meanwhile."""
    return [draft for address, draft in _drafts(request).items() if address not in listed]


def drop_draft(request: SignedInRequest, address: str) -> None:
    if _drafts(request).pop(address, None):
        request.session.modified = True


def _drafts(request: SignedInRequest) -> dict[str, Draft]:
    drafts: dict[str, Draft] = request.session.get(_KEY, {})
    return drafts

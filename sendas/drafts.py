"""Addresses that wait for the choice of their server, in the session of who adds them.

Each by itself, so that two browser tabs do not meet. A draft never holds a password. The page of
step 2 carries its own, so that it outlives the session.
"""

from typing import Any

from django.core import signing

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
    before = _drafts(request).get(address)
    if before:
        proposal = before["proposal"]
    else:
        found = propose_settings(user=request.user, address=address)
        ask_for_page(split_address(address)[1], found.host)
        proposal = found._asdict()
    _keep(request, {**typed, "proposal": proposal})


def _keep(request: SignedInRequest, draft: Draft) -> None:
    others = {name: each for name, each in _drafts(request).items() if name != draft["address"]}
    newest = list(others.items())[1 - KEPT :]
    request.session[_KEY] = {**dict(newest), draft["address"]: draft}


def carried(request: SignedInRequest, draft: Draft) -> str:
    """The draft for the page of step 2, signed for its account."""
    return signing.dumps(draft, salt=_salt(request))


def take_up_draft(request: SignedInRequest, signed: str) -> None:
    """Keep a draft that such a page brings from a session that has ended."""
    try:
        draft = signing.loads(signed, salt=_salt(request))
    except signing.BadSignature:
        return
    _keep(request, draft)


def _salt(request: SignedInRequest) -> str:
    return f"{_KEY}:{request.user.pk}"


def open_drafts(request: SignedInRequest, listed: set[str]) -> list[Draft]:
    """Those whose address was not added in another way meanwhile."""
    return [draft for address, draft in _drafts(request).items() if address not in listed]


def drop_draft(request: SignedInRequest, address: str) -> None:
    if _drafts(request).pop(address, None):
        request.session.modified = True


def _drafts(request: SignedInRequest) -> dict[str, Draft]:
    drafts: dict[str, Draft] = request.session.get(_KEY, {})
    return drafts

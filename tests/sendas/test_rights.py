"""A person's addresses are nobody else's business: the services say so, whatever a page checked."""

import pytest
from django.core.exceptions import PermissionDenied

from accounts.models import AuditEvent
from accounts.services.audit import Actor
from sendas.models import ReplyFrom, SendAs
from sendas.services.addresses import (
    Details,
    add_address,
    change_details,
    choose_reply_from,
    delete_address,
    make_default,
    remove_gateway,
    reply_from,
    set_gateway,
)
from sendas.services.proof import confirm_code, confirm_link, find_link, send_proof
from tests.sendas.conftest import PARTNER, gateway_at, make_pending, make_send_as
from tests.sendas.test_proof import code_in, token_in

DETAILS = Details("Somebody Else")


@pytest.mark.parametrize("role", ["stranger", "support", "users_admin", "super_admin"])
def test_nobody_changes_the_addresses_of_another(role, owner, request):
    actor, send_as = Actor(request.getfixturevalue(role)), make_send_as(owner)
    events = AuditEvent.objects.count()
    for call in (
        lambda: add_address(
            actor=actor, user=owner, address="x@example.com", details=DETAILS, gateway=None
        ),
        lambda: change_details(actor=actor, user=owner, address=PARTNER, details=DETAILS),
        lambda: set_gateway(actor=actor, send_as=send_as, gateway=gateway_at(25)),
        lambda: remove_gateway(actor=actor, send_as=send_as),
        lambda: make_default(actor=actor, user=owner, address=PARTNER),
        lambda: choose_reply_from(actor=actor, user=owner, choice=ReplyFrom.DEFAULT),
        lambda: delete_address(actor=actor, send_as=send_as),
    ):
        with pytest.raises(PermissionDenied):
            call()
    row = SendAs.objects.get()
    assert (row.display_name, row.is_default) == (send_as.display_name, False)
    assert reply_from(owner) == ReplyFrom.RECEIVED
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("role", ["stranger", "support", "super_admin"])
def test_nobody_proves_an_address_for_another(role, owner, mailoutbox, request):
    actor, send_as = Actor(request.getfixturevalue(role)), make_pending(owner)
    send_proof(send_as)
    proof = find_link(owner, token_in(mailoutbox[-1]))
    with pytest.raises(PermissionDenied):
        confirm_link(actor=actor, proof=proof)
    with pytest.raises(PermissionDenied):
        confirm_code(actor=actor, send_as=send_as, code=code_in(mailoutbox[-1]))
    assert SendAs.objects.get().is_pending
    assert send_as.proofs.get().attempts == 0
    confirm_link(actor=Actor(owner), proof=proof)
    assert SendAs.objects.get().is_accepted

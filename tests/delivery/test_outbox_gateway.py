"""What waits for an address's own server: by the rules of the moment; held while it is broken."""

import pytest
from django.db.models.functions import Now

from accounts.services.audit import SYSTEM
from delivery.models import OutboxMessage
from delivery.outbox import release_mended
from policies.models import AppliedPolicy
from sendas.credentials import Binding, seal
from sendas.models import SendAs, SmtpMsa
from sendas.services.reproof import ask_again, suspend_lapsed
from sendas.services.wiping import wipe_passwords
from tests.delivery.outbox import RECIPIENT, deliver, put
from tests.sendas.conftest import CANARY, PARTNER, make_send_as

State = OutboxMessage.State
pytestmark = pytest.mark.django_db(transaction=True)


def keep_gateway(send_as, port: int, password: str = CANARY) -> SmtpMsa:
    server = Binding(send_as.pk, "localhost", port, "starttls", PARTNER)
    sealed = seal(password, server)
    SmtpMsa.objects.filter(send_as=send_as).delete()
    return SmtpMsa.objects.create(
        send_as=send_as, host=server.host, port=server.port, security_mode=server.security_mode,
        username=server.username, key_id=sealed.key_id, ciphertext=sealed.ciphertext,
    )  # fmt: skip


@pytest.fixture
def send_as(owner, partner, allowed):
    row = make_send_as(owner)
    keep_gateway(row, partner.port)
    return row


def only(message: OutboxMessage) -> OutboxMessage:
    return OutboxMessage.objects.get(pk=message.pk)


def make_due() -> None:
    OutboxMessage.objects.update(next_attempt_at=Now())


def test_it_leaves_by_the_addresss_own_server_and_by_no_other(owner, send_as, partner, relay):
    message = put(owner, from_address=PARTNER)
    deliver()
    assert only(message).state == State.SENT
    [delivery] = message.deliveries.all()
    assert (delivery.route, delivery.envelope_sender, delivery.sender) == ("gateway", PARTNER, "")
    assert delivery.tls_version == "TLSv1.3"
    assert delivery.times.keys() == {"start", "content", "log", "dot"}
    assert relay.taken == []


def test_a_policy_taken_away_meanwhile_sends_it_by_our_servers(owner, send_as, partner, relay):
    put(owner, from_address=PARTNER)
    AppliedPolicy.objects.update(value={"allowed": False}, version=2)
    deliver()
    [taken] = relay.taken
    assert taken.sender == owner.primary_address
    assert f"Sender: {owner.primary_address}".encode() in taken.header
    assert partner.tried == []


def test_a_refused_password_is_tried_once_however_many_wait(owner, send_as, partner, relay):
    keep_gateway(send_as, partner.port, "wrong")
    messages = [put(owner, from_address=PARTNER, subject=f"{number}") for number in range(60)]
    deliver()
    assert partner.tried == ["wrong"]
    assert {only(message).state for message in messages} == {State.HELD}
    make_due()
    deliver()
    assert partner.tried == ["wrong"]
    assert "no longer accepts the stored password" in only(messages[0]).last_reply
    assert release_mended() == 0
    keep_gateway(send_as, partner.port)
    assert release_mended() == 60
    deliver()
    assert {only(message).state for message in messages} == {State.SENT}
    assert relay.taken == []


def test_a_wiped_password_holds_what_waits_until_it_is_typed_again(owner, send_as, partner, relay):
    messages = [put(owner, from_address=PARTNER, subject=f"{number}") for number in range(9)]
    wipe_passwords(actor=SYSTEM, host="localhost")
    deliver()
    assert {only(message).state for message in messages} == {State.HELD}
    assert "Enter the password again" in only(messages[0]).last_reply
    assert release_mended() == 0
    keep_gateway(send_as, partner.port)
    assert release_mended() == 9
    deliver()
    assert {only(message).state for message in messages} == {State.SENT}
    assert set(partner.tried) == {CANARY}
    assert relay.taken == []


def test_what_waits_from_an_address_that_is_suspended_fails_and_its_author_hears_why(
    owner, send_as, partner, relay
):
    message = put(owner, from_address=PARTNER)
    assert ask_again(send_as=send_as, reason=SendAs.AskReason.BOUNCE)
    SendAs.objects.update(proof_due_at=Now())
    assert suspend_lapsed() == 1
    deliver()
    assert only(message).state == State.FAILED
    [report] = relay.taken
    assert report.recipients == [owner.primary_address]
    assert b"not proved again in time" in report.content
    assert partner.tried == []


def test_what_is_held_to_the_end_has_failed_and_its_author_hears_why(
    owner, send_as, partner, relay
):
    keep_gateway(send_as, partner.port, "wrong")
    message = put(owner, from_address=PARTNER)
    deliver()
    OutboxMessage.objects.update(next_attempt_at=Now(), expires_at=Now())
    deliver()
    assert only(message).state == State.FAILED
    [report] = relay.taken
    assert report.recipients == [owner.primary_address]
    assert b"password" in report.content


def test_a_server_that_is_away_is_asked_once_for_all_that_wait(owner, send_as, partner, relay):
    gateway = keep_gateway(send_as, partner.port)
    SmtpMsa.objects.filter(pk=gateway.pk).update(host="nowhere.invalid")
    messages = [put(owner, from_address=PARTNER, subject=f"{number}") for number in range(9)]
    deliver()
    assert {only(message).state for message in messages} == {State.WAITING}
    assert partner.tried == []
    assert relay.taken == []


def test_a_recipient_that_the_server_refuses_for_good_is_named(owner, send_as, partner, relay):
    partner.refused.add(RECIPIENT)
    message = put(owner, from_address=PARTNER)
    deliver()
    assert only(message).state == State.FAILED
    assert f"<{RECIPIENT}> was refused" in only(message).last_reply

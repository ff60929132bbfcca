import pytest

from accounts.models import AuditEvent
from delivery.models import OutboxMessage
from tests.delivery.outbox import CANARY, RECIPIENT, content_for, put, state_of
from tests.support import assert_only_to_be_read, count_queries, page_of, read

State = OutboxMessage.State


@pytest.fixture
def message(owner):
    content = content_for(owner.primary_address, body=CANARY.encode())
    return put(owner, content=content)


def act(client, action, *messages):
    url = page_of(OutboxMessage(), "changelist")
    chosen = {"action": action, "_selected_action": [message.pk for message in messages]}
    return client.post(url, chosen, follow=True).content.decode()


@pytest.mark.parametrize("role", ["support", "super_admin"])
def test_support_sees_what_waits_and_never_what_it_says(client, role, request, message):
    client.force_login(request.getfixturevalue(role))
    OutboxMessage.objects.update(last_reply="451 4.4.1 smtp.partner.example can't be reached")
    html = assert_only_to_be_read(client, message)
    assert RECIPIENT in html
    assert "smtp.partner.example can&#x27;t be reached" in html
    assert CANARY not in html
    for cell in (bytes(message.chunks.get().ciphertext).hex(), message.chunks.get().key_id + ":"):
        assert cell not in html


def test_a_message_is_found_by_account_from_or_message_id(client, support, message):
    client.force_login(support)
    url = page_of(message, "changelist")
    for term in (message.account_address, message.message_id):
        assert page_of(message) in client.get(url, {"q": term}).content.decode()
    assert page_of(message) not in client.get(url, {"q": "nowhere"}).content.decode()


def test_support_lets_it_be_tried_again_and_that_is_audited(client, support, owner, message):
    OutboxMessage.objects.update(state=State.HELD, next_attempt_at="2099-01-01T00:00Z")
    client.force_login(support)
    assert "1 message is tried again now." in act(client, "retry", message)
    assert OutboxMessage.objects.due().get() == message
    event = AuditEvent.objects.get(name="outbox_retried")
    assert (event.actor_address, event.target) == (support.primary_address, owner.primary_address)


def test_support_discards_what_waits_and_is_told_what_can_no_longer_be_called_back(
    client, support, owner, message
):
    under_way, sent = put(owner, subject="under-way"), put(owner, subject="sent")
    OutboxMessage.objects.filter(pk=under_way.pk).update(state=State.SENDING)
    OutboxMessage.objects.filter(pk=sent.pk).update(state=State.SENT)
    client.force_login(support)
    html = act(client, "discard", message, under_way, sent)
    assert "1 message is discarded." in html
    assert "2 messages are being sent or have ended" in html
    assert [state_of(each) for each in (message, under_way, sent)] == [
        State.DISCARDED, State.SENDING, State.SENT,
    ]  # fmt: skip
    assert not message.chunks.exists()
    assert under_way.chunks.exists()
    assert AuditEvent.objects.filter(name="outbox_discarded").count() == 1


def test_the_list_costs_the_same_queries_with_more_rows(client, support, owner):
    client.force_login(support)
    for number in range(10):
        put(owner, subject=f"{number}")
    before = count_queries(client, page_of(OutboxMessage(), "changelist"))
    for number in range(10):
        put(owner, subject=f"{number}")
    assert count_queries(client, page_of(OutboxMessage(), "changelist")) == before


def test_strangers_are_sent_away(client, stranger, message):
    client.force_login(stranger)
    for page in ("changelist", "change"):
        assert client.get(page_of(message, page)).status_code in {302, 403}
    act(client, "discard", message)
    assert state_of(message) == State.WAITING


def test_a_page_leads_to_the_attempts_in_the_log(client, support, owner, message):
    row = message.deliveries.create(account_address=owner.primary_address)
    client.force_login(support)
    assert page_of(row) in read(client, page_of(message))

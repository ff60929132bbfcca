"""What the author of a message sees of it, from waiting to its end, and what can be done then."""

import html
import re

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM
from delivery.models import Delivery, OutboxChunk, OutboxMessage
from policies.models import AppliedPolicy, Setting
from sendas.models import SmtpMsa
from sendas.services.addresses import set_gateway
from sendas.services.breaker import record_refusal
from tests.delivery.outbox import deliver, put, state_of
from tests.sendas.conftest import PARTNER, gateway_at, make_send_as

OUTGOING = "/compose/outgoing/"

# Claims of the outbox are taken on connections of their own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(client, owner):
    client.force_login(owner)
    return lambda query="", **headers: client.get(OUTGOING + query, headers=headers)


def words(response) -> str:
    text = re.sub(r"<[^>]+>", " ", response.content.decode().partition("<main")[2] or
                  response.content.decode())  # fmt: skip
    return " ".join(html.unescape(text).split())


def test_each_state_is_told_with_route_and_reply(page, owner, relay):
    relay.answers["RCPT"] = b"450 4.2.0 Greylisted, come back\r\n"
    message = put(owner)
    assert "To claire@customer.example Waiting by our servers From user@yourdomain.com" in words(
        page()
    )
    deliver()
    told = words(page())
    assert "Next attempt" in told
    assert "Last answer:" in told
    assert "450 4.2.0 Greylisted, come back" in told
    OutboxMessage.objects.filter(pk=message.pk).update(state="sending")
    assert "Sending" in words(page())
    assert "Try now" not in words(page())


def test_the_last_answer_is_in_the_readers_language_but_for_what_the_server_said(
    page, owner, relay
):
    relay.answers["RCPT"] = b"450 4.2.0 Greylisted, come back\r\n"
    put(owner)
    deliver()
    told = words(page(**{"accept-language": "ja"}))
    assert "<claire@customer.example>が拒否されたため、メッセージは誰にも届いていません。" in told
    assert "の応答：450 4.2.0 Greylisted, come back" in told
    assert "said" not in told


def test_a_sent_message_shows_the_way_it_went_and_what_the_server_said(page, owner, relay):
    put(owner)
    deliver()
    told = words(page())
    assert "claire@customer.example Sent by our servers" in told
    assert "Reply of the server: 250" in told
    assert "hx-get" not in page().content.decode()


def test_the_gateway_of_a_message_that_has_ended_is_told_from_the_log(page, owner):
    message = put(owner, from_address=PARTNER)
    OutboxMessage.objects.update(state="failed", last_reply="550 5.1.1 Nobody", finished_at=Now())
    Delivery.objects.create(
        outbox_message=message, account=owner, account_address=owner.primary_address,
        route="gateway", server="smtp.partner.example:587", state="refused",
    )  # fmt: skip
    assert "Failed through smtp.partner.example From" in words(page())


@pytest.fixture
def held(owner, allowed, partner) -> OutboxMessage:
    """A message that waits for a password, for its server refused the stored one."""
    send_as = make_send_as(owner)
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway_at(partner.port))
    record_refusal(credential_id=send_as.smtp_msa.credential_id, reply="535 5.7.8 No")
    message = put(owner, from_address=PARTNER)
    deliver()
    assert state_of(message) == "held"
    return message


def test_a_held_message_says_what_it_waits_for_and_leaves_once_mended(page, held):
    told = words(page())
    assert "Held" in told
    assert "stopped" in told
    assert "It leaves by itself once a new one works." in told


def test_what_waits_for_a_password_offers_what_helps_and_no_attempt(page, client, owner, held):
    shown = page().content.decode()
    assert "Try now" not in shown
    for link in ("edit/#id_password", "by-our-servers/"):
        assert f'href="/settings/send-as/{owner.send_as.get().pk}/{link}"' in shown
    due = OutboxMessage.objects.get().next_attempt_at
    answer = client.post(OUTGOING, {"retry": str(held.pk)}, follow=True)
    assert "It waits for a password that works" in words(answer)
    assert OutboxMessage.objects.get().next_attempt_at == due
    SmtpMsa.objects.update(refused_at=None, wiped_at=Now(), key_id="", ciphertext=b"")
    assert "The password for its server was deleted." in words(page())
    SmtpMsa.objects.update(wiped_at=None)
    assert "Try now" in words(page())


def test_where_our_servers_may_carry_it_by_now_it_can_be_tried(page, owner, held):
    AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_FAILURE,
        value={"choice": "our_servers"}, version=1,
    )  # fmt: skip
    assert "Try now" in words(page())


def test_try_now_makes_it_due(page, client, owner, relay):
    relay.answers["RCPT"] = b"450 4.2.0 Greylisted\r\n"
    message = put(owner)
    deliver()
    del relay.answers["RCPT"]
    page()
    answer = client.post(OUTGOING, {"retry": str(message.pk)}, follow=True)
    assert "It is tried again now." in words(answer)
    deliver()
    assert state_of(message) == "sent"
    answer = client.post(OUTGOING, {"retry": str(message.pk)}, follow=True)
    assert "or has ended" in words(answer)


def test_discard_asks_first_and_leaves_nothing_to_read(page, client, owner):
    message = put(owner)
    page()
    question = client.get(f"{OUTGOING}{message.pk}/discard/")
    assert "Nobody gets it" in question.content.decode()
    assert state_of(message) == "waiting"
    answer = client.post(f"{OUTGOING}{message.pk}/discard/", follow=True)
    assert "The message is discarded." in words(answer)
    assert state_of(message) == "discarded"
    assert not OutboxChunk.objects.exists()
    event = AuditEvent.objects.get(name="outbox_discarded")
    assert (event.actor_address, event.unit_id) == (owner.primary_address, owner.unit_id)
    answer = client.post(f"{OUTGOING}{message.pk}/discard/", follow=True)
    assert "or has ended" in words(answer)


def test_a_page_that_polls_hears_only_of_what_changed(page, owner, relay):
    put(owner)
    shown = page().content.decode()
    poll = html.unescape(re.search(r'hx-get="([^"]+)"', shown)[1]).removeprefix(OUTGOING)
    assert page(poll, hx_request="true").status_code == 204
    deliver()
    answer = page(poll, hx_request="true")
    assert answer.status_code == 200
    assert answer.content.decode().lstrip().startswith('<div id="outgoing"')
    assert "Sent" in words(answer)
    assert "hx-get" not in answer.content.decode()


def test_only_ones_own_messages_are_there(page, client, owner, stranger):
    theirs = put(stranger)
    OutboxMessage.objects.filter(pk=put(owner).pk).update(source="report")
    OutboxMessage.objects.filter(pk=put(owner).pk).update(state="storing")
    assert "No message yet" in words(page())
    assert client.post(OUTGOING, {"retry": str(theirs.pk)}).status_code == 404
    assert client.get(f"{OUTGOING}{theirs.pk}/discard/").status_code == 404
    assert client.post(OUTGOING, {"retry": "x"}).status_code == 400
    assert client.put(OUTGOING).status_code == 405


def test_the_number_of_queries_does_not_depend_on_the_number_of_messages(page, owner):
    def store(state: str) -> None:
        for number in range(5):
            message = put(owner, subject=f"{state}{number}")
            OutboxMessage.objects.filter(pk=message.pk).update(state=state)
            Delivery.objects.create(outbox_message=message, account=owner, route="default")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page()
        return len(captured)

    store("waiting")
    store("sent")
    first = queries()
    store("failed")
    store("held")
    assert queries() == first


def test_more_messages_than_fit_lie_on_further_pages(page, owner):
    for number in range(26):
        put(owner, subject=f"n{number}")
    assert "Page 1 of 2" in words(page())
    assert page("?page=2").content.decode().count('class="list-row"') == 1

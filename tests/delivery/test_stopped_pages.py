"""The three ways on from a refused password: mend it, give the server up, discard what waits."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.services.audit import SYSTEM
from delivery.models import OutboxChunk, OutboxMessage
from delivery.outbox import release_mended
from sendas.models import SmtpMsa
from sendas.services.addresses import set_gateway
from tests.delivery.outbox import deliver, put
from tests.delivery.test_outbox_gateway import keep_gateway
from tests.sendas.conftest import CANARY, PARTNER, gateway_at, make_send_as

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stopped(owner, allowed, partner, relay):
    """An address whose server refuses the password, and three messages that wait for it."""
    send_as = make_send_as(owner)
    keep_gateway(send_as, partner.port, "wrong")
    for number in range(3):
        put(owner, from_address=PARTNER, subject=f"{number}")
    deliver()
    assert partner.tried == ["wrong"]
    return send_as


@pytest.fixture
def signed_in(client, owner):
    client.force_login(owner)
    return client


def page_of(send_as, name: str) -> str:
    return f"/settings/send-as/{send_as.pk}/{name}/"


def states() -> set[str]:
    return set(OutboxMessage.objects.values_list("state", flat=True))


def test_the_list_counts_what_waits_and_offers_three_ways(signed_in, stopped):
    html = signed_in.get("/settings/").content.decode()
    assert "3 messages wait." in html
    for link in (f"/settings/send-as/{stopped.pk}/edit/#id_password",
                 page_of(stopped, "by-our-servers"), page_of(stopped, "discard")):  # fmt: skip
        assert f'href="{link}"' in html


def test_a_good_test_of_a_new_password_releases_what_waits(stopped, partner, relay):
    set_gateway(actor=SYSTEM, send_as=stopped, gateway=gateway_at(partner.port))
    assert release_mended() == 3
    deliver()
    assert states() == {"sent"}
    assert set(partner.tried[1:]) == {CANARY}
    assert relay.taken == []


def test_a_bad_test_leaves_the_breaker_open(signed_in, stopped, partner):
    form = {
        "display_name": "User", "route": "own", "host": "localhost", "port": partner.port,
        "security_mode": "starttls", "username": PARTNER, "password": "wrong as well",
    }  # fmt: skip
    signed_in.post(f"/settings/send-as/{stopped.pk}/edit/", form)
    assert SmtpMsa.objects.get().refused_at
    assert release_mended() == 0


def test_by_our_servers_what_waits_leaves_with_a_sender(signed_in, owner, stopped, partner, relay):
    page = page_of(stopped, "by-our-servers")
    shown = signed_in.get(page).content.decode()
    assert "3 messages that wait leave at once" in shown
    assert f"on behalf of {owner.primary_address}" in shown
    assert states() == {"held"}
    assert signed_in.post(page).headers["Location"] == "/settings/"
    deliver()
    assert states() == {"sent"}
    assert len(relay.taken) == 3
    assert all(f"Sender: {owner.primary_address}".encode() in each.header for each in relay.taken)
    assert partner.tried == ["wrong"]
    assert not SmtpMsa.objects.exists()
    assert signed_in.get(page).headers["Location"] == "/settings/"


def test_what_waits_is_discarded_after_a_question_and_no_more_than_that(
    signed_in, owner, stopped, relay
):
    other = put(owner)
    page = page_of(stopped, "discard")
    assert "Discard 3 messages?" in signed_in.get(page).content.decode()
    assert states() == {"held", "waiting"}
    answer = signed_in.post(page, follow=True)
    assert "3 messages are discarded." in answer.content.decode()
    assert set(OutboxChunk.objects.values_list("message", flat=True)) == {other.pk}
    assert states() == {"discarded", "waiting"}
    assert SmtpMsa.objects.get().refused_at
    assert signed_in.post(page).headers["Location"] == "/settings/"


@pytest.mark.parametrize("name", ["by-our-servers", "discard"])
def test_nobody_else_reaches_these_pages(client, colleague, stopped, name):
    client.force_login(colleague)
    assert client.post(page_of(stopped, name)).status_code == 404
    assert states() == {"held"}


def test_the_list_takes_as_many_queries_however_many_wait(signed_in, owner, stopped):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            signed_in.get("/settings/")
        return len(asked)

    signed_in.get("/settings/")
    before = queries()
    for number in range(10):
        put(owner, from_address=PARTNER, subject=f"more {number}")
    OutboxMessage.objects.update(state="held", credential_id=SmtpMsa.objects.get().credential_id)
    assert queries() == before

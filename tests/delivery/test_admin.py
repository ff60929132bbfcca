import uuid

import pytest

from delivery.models import Delivery, DeliveryRecipient
from delivery.routing import Explanation, Rule
from tests.support import assert_only_to_be_read, count_queries, page_of, read

EXPLANATION = Explanation(
    rule=Rule.GATEWAY,
    gateways_allowed=True,
    deciding_unit="Sales",
    version=3,
    unit="yourdomain.com › Sales › Partner desk",
    cohort=4,
)


def make_delivery(user):
    delivery = Delivery.objects.create(
        account=user,
        account_address=user.primary_address,
        from_address="user.name@partnerdomain.com",
        message_id="<1@partnerdomain.com>",
        state=Delivery.State.DELIVERED,
        route=Delivery.RouteKind.GATEWAY,
        server="smtp.partnerdomain.com:587",
        envelope_sender="user.name@partnerdomain.com",
        credential_id=uuid.uuid4(),
        explanation=EXPLANATION.as_json(),
        reply="250 2.0.0 Kept",
    )
    DeliveryRecipient.objects.create(delivery=delivery, address="claire@customer.example")
    return delivery


@pytest.fixture
def delivery(owner):
    return make_delivery(owner)


@pytest.mark.parametrize("role", ["support", "super_admin"])
def test_support_reads_where_a_message_went_and_why(client, role, request, delivery):
    client.force_login(request.getfixturevalue(role))
    html = assert_only_to_be_read(client, delivery)
    assert "claire@customer.example" in html
    assert "smtp.partnerdomain.com:587" in html
    assert "Gateways are on for Sales" in html
    assert "250 2.0.0 Kept" in html
    assert str(delivery.credential_id) not in html


@pytest.mark.parametrize(
    "term", ["user@yourdomain.com", "USER.NAME@", "claire@customer", "<1@partnerdomain.com>"]
)
def test_a_delivery_is_found_by_account_from_recipient_or_message_id(
    client, support, delivery, term
):
    client.force_login(support)
    url = page_of(delivery, "changelist")
    assert page_of(delivery) in client.get(url, {"q": term}).content.decode()
    assert page_of(delivery) not in client.get(url, {"q": "nowhere"}).content.decode()


def test_the_list_costs_the_same_queries_with_more_rows(client, support, owner):
    client.force_login(support)
    for _ in range(10):
        make_delivery(owner)
    before = count_queries(client, page_of(Delivery(), "changelist"))
    for _ in range(10):
        make_delivery(owner)
    assert count_queries(client, page_of(Delivery(), "changelist")) == before


def test_strangers_are_sent_away(client, stranger, delivery):
    client.force_login(stranger)
    assert client.get(page_of(delivery)).status_code in {302, 403}


def test_a_page_lists_a_delivery_whose_account_is_gone(client, support, delivery):
    Delivery.objects.filter(pk=delivery.pk).update(account=None)
    client.force_login(support)
    assert "user@yourdomain.com" in read(client, page_of(delivery))

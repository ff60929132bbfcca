import re
import uuid
from dataclasses import replace
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.services.audit import Actor
from delivery.models import Delivery, DeliveryRecipient
from delivery.routing import Explanation, Rule
from policies.services import pause, resume
from tests.console.rows import OTHER_SETTINGS, apply_waves, save_value
from tests.sendas.conftest import make_send_as
from tests.support import assert_only_to_be_read, count_queries, page_of, read

EXPLANATION = Explanation(
    rule=Rule.GATEWAY,
    gateways_allowed=True,
    deciding_unit="Sales",
    version=3,
    unit="yourdomain.com › Sales › Partner desk",
    cohort=4,
)


def make_delivery(user, *, version=3):
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
        explanation=replace(EXPLANATION, version=version).as_json(),
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
    assert "The account was in yourdomain.com › Sales › Partner desk, in cohort 4." in html
    assert html.count("rung-decides") == 1
    assert "250 2.0.0 Kept" in html
    assert str(delivery.credential_id) not in html


def test_recipients_that_are_gone_are_not_taken_for_none(client, support, delivery):
    client.force_login(support)
    delivery.recipients.all().delete()
    assert "Not kept any more" in read(client, page_of(delivery))


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


def test_a_message_id_is_found_without_its_angle_brackets(client, support, delivery):
    client.force_login(support)
    url = page_of(delivery, "changelist")
    for term in ("1@partnerdomain.com", " 1@partnerdomain.com "):
        assert page_of(delivery) in client.get(url, {"q": term}).content.decode()


@pytest.mark.parametrize("form", ["{}", "Outgate {}", "(Outgate {})"])
def test_a_delivery_is_found_by_the_number_in_the_reply(client, support, delivery, form):
    client.force_login(support)
    url = page_of(delivery, "changelist")
    shown = client.get(url, {"q": form.format(delivery.pk)}).content.decode()
    assert page_of(delivery) in shown
    assert page_of(delivery) not in client.get(url, {"q": str(uuid.uuid4())}).content.decode()


def test_the_change_that_decided_is_named_with_who_saved_it(
    client, support, super_admin, organisation, owner
):
    change = save_value(user=super_admin, unit=organisation.sales)
    save_value(user=super_admin, unit=organisation.support_unit)
    delivery = make_delivery(owner, version=change.version)
    client.force_login(support)
    html = read(client, page_of(delivery))
    assert (
        f'<a href="{page_of(change)}">Sales, version 1</a>, saved by admin@yourdomain.com' in html
    )
    assert html.count("claire@customer.example") == 1


def test_a_policy_that_history_does_not_know_is_named_without_a_link(client, support, delivery):
    client.force_login(support)
    assert "Sales, version 3" in read(client, page_of(delivery))


def test_an_account_leads_to_its_addresses_and_deliveries_and_tells_its_policy(
    client, support, owner, colleague, super_admin, organisation
):
    delivery, other = make_delivery(owner), make_delivery(colleague)
    send_as = make_send_as(owner)
    client.force_login(support)
    html = read(client, page_of(owner))
    assert "Per-user outbound gateways: Off, by default" in html
    assert f'<a href="{page_of(send_as)}">{send_as.send_as_email}</a>' in html
    mail = f"{page_of(delivery, 'changelist')}?account__id__exact={owner.pk}"
    assert f'href="{mail}"' in html
    listed = read(client, mail)
    assert page_of(delivery) in listed
    assert page_of(other) not in listed
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    assert "On, decided for Sales, version 1" in read(client, page_of(owner))


@pytest.mark.parametrize(("setting", "value", "words"), OTHER_SETTINGS)
def test_an_account_tells_what_holds_and_what_comes_of_every_setting(
    setting, value, words, client, support, owner, super_admin, organisation
):
    type(owner).objects.filter(pk=owner.pk).update(cohort=12)
    change = save_value(user=super_admin, unit=organisation.sales, setting=setting, value=value)
    client.force_login(support)
    coming = (
        rf"{page_of(change)}\W+{setting.label}, change {change.pk} by [^;]+; then [^<]*{words}<"
    )
    html = unescape(read(client, page_of(owner)))
    assert re.search(coming, html)
    assert f"{words}, decided for" not in html
    pause(actor=Actor(super_admin), change=change, based_on=0)
    assert f"change {change.pk}, paused; then" in read(client, page_of(owner))
    resume(actor=Actor(super_admin), change=change, based_on=1)
    apply_waves(change, 13)
    html = unescape(read(client, page_of(owner)))
    assert f"{words}, decided for Sales, version 1" in html
    assert page_of(change) not in html


def test_an_account_costs_the_same_queries_with_more_changes(
    client, support, owner, super_admin, organisation
):
    client.force_login(support)
    save_value(user=super_admin, unit=organisation.sales)
    read(client, page_of(owner))
    one = count_queries(client, page_of(owner))
    for unit in (organisation.root, organisation.sales, organisation.partner_desk):
        for setting, value, _words in OTHER_SETTINGS:
            save_value(user=super_admin, unit=unit, setting=setting, value=value)
    assert count_queries(client, page_of(owner)) == one


def test_an_account_asks_for_what_is_on_its_way_once(
    client, support, owner, super_admin, organisation
):
    save_value(user=super_admin, unit=organisation.sales)
    client.force_login(support)
    with CaptureQueriesContext(connection) as queries:
        read(client, page_of(owner))
    asked = [query["sql"] for query in queries if "policies_rolloutwave" in query["sql"]]
    assert len(asked) == len(set(asked)) > 0


def test_strangers_are_sent_away(client, stranger, delivery):
    client.force_login(stranger)
    assert client.get(page_of(delivery)).status_code in {302, 403}


def test_a_page_lists_a_delivery_whose_account_is_gone(client, support, delivery):
    Delivery.objects.filter(pk=delivery.pk).update(account=None)
    client.force_login(support)
    assert "user@yourdomain.com" in read(client, page_of(delivery))

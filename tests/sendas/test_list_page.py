import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import add_alias, suspend_user
from policies.models import Setting
from policies.services import apply_now, change_policy, database_now, pause
from sendas.models import MailDomain, ReplyFrom, SmtpMsa
from sendas.services.addresses import list_addresses, reply_from
from tests.policies.rows import apply_wave
from tests.sendas.conftest import (
    PARTNER,
    know_domain,
    make_pending,
    make_send_as,
    move_to_next_cohort,
)
from tests.sendas.pages import LIST, row_of

ALIAS = "sales@yourdomain.com"


def test_it_asks_for_sign_in(client, db):
    answer = client.get(LIST)
    assert answer.status_code == 302
    assert answer.url.startswith("/sign-in/")


def test_it_takes_no_other_method(client, owner):
    client.force_login(owner)
    assert client.put(LIST).status_code == 405
    assert client.post(LIST).status_code == 400


def test_a_suspended_account_is_signed_out(client, owner):
    client.force_login(owner)
    suspend_user(actor=SYSTEM, user=owner)
    assert client.get(LIST).status_code == 302


def test_primary_and_alias_need_nothing(page, owner):
    add_alias(actor=SYSTEM, user=owner, address=ALIAS)
    html = page()
    primary, alias = row_of(html, owner.primary_address), row_of(html, ALIAS)
    assert "Default" in primary
    assert "by our servers Your primary address" in primary
    assert "by our servers Alias in your organisation" in alias
    for row in (primary, alias):
        assert "on behalf of" not in row
        assert "Delete" not in row


def test_an_address_without_server_goes_on_behalf_of_the_primary(page, owner):
    make_send_as(owner)
    assert f"by our servers on behalf of {owner.primary_address}" in row_of(page(), PARTNER)


def test_an_address_with_server_goes_through_it(page, with_gateway, partner):
    row = row_of(page(), PARTNER)
    assert "through localhost" in row
    assert f"Port {partner.port} with STARTTLS" in row
    assert "last signed in" in row


def test_whether_receivers_will_take_it_is_told_for_the_route_that_is_used(
    page, with_gateway, owner
):
    know_domain(policy="reject", spf={"localhost": "pass"})
    assert "partnerdomain.com names localhost as a server" in row_of(page(), PARTNER)
    move_to_next_cohort(owner)
    row = row_of(page(), PARTNER)
    assert "partnerdomain.com tells receivers to reject mail" in row
    assert "Give it its own server" not in row


def test_an_own_server_is_offered_where_our_servers_are_refused(page, owner, allowed):
    send_as = make_send_as(owner)
    domain = know_domain(policy="reject")
    html = page()
    assert f'href="/settings/send-as/{send_as.pk}/edit/">Give it its own server' in html
    assert "tells receivers" not in row_of(html, owner.primary_address)
    MailDomain.objects.filter(pk=domain.pk).update(policy="none")
    assert "Give it its own server" not in page()


def test_what_is_not_known_yet_is_told_as_that(page, owner, settings):
    make_send_as(owner)
    assert "known yet" not in row_of(page(), PARTNER)
    settings.OUTGATE_FIND_SETTINGS = True
    assert "partnerdomain.com has not told its rules" in row_of(page(), PARTNER)


def test_where_the_policy_is_off_the_server_is_kept_and_not_used(page, with_gateway, owner):
    from_rows = SmtpMsa.objects.count()
    move_to_next_cohort(owner)
    html = page()
    assert "on behalf of" in row_of(html, PARTNER)
    assert "Own server localhost is kept, not used now" in row_of(html, PARTNER)
    assert "Own SMTP servers are off for your account" in html
    assert SmtpMsa.objects.count() == from_rows == 1


def test_a_change_on_its_way_is_announced_with_its_time(page, with_gateway, owner, super_admin):
    move_to_next_cohort(owner)
    change = change_policy(
        actor=Actor(super_admin), unit=owner.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": True}, based_on=0,
    )  # fmt: skip
    change.waves.update(due_at=change.starts_at + timedelta(minutes=30))
    html = page()
    assert "Own SMTP servers are allowed, but not on your account yet" in html
    assert "They reach your account by" in html
    assert re.search(r"on behalf of .* from [\w ,:]+ through localhost", row_of(html, PARTNER))


def test_what_is_paused_or_scheduled_is_told_in_plain_words(client, page, owner, super_admin):
    by = {"actor": Actor(super_admin), "reason": ""}
    change = change_policy(
        **by, unit=owner.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY, value={"allowed": True},
        based_on=0, starts_at=database_now() + timedelta(hours=3),
    )  # fmt: skip
    words = re.sub(r"<[^>]+>", "", page())
    assert "Own SMTP servers will be allowed on your account" in words
    assert re.search(r"Your administrator decided at [\d:]+ to allow them from \S", words)
    change = apply_now(**by, change=change, based_on=0)
    change.waves.update(due_at=Now() + timedelta(hours=1))
    words = re.sub(r"<[^>]+>", "", page())
    assert re.search(
        r"Your administrator allowed them at [\d:]+. They reach your account by", words
    )
    pause(**by, change=change, based_on=1)
    words = re.sub(r"<[^>]+>", "", page())
    assert "then paused the change, so there is no time yet" in words
    assert words.count("leaves by our servers") == 1
    step1 = client.get("/settings/send-as/add/").content.decode()
    assert "but the change is paused and has not reached your account." in step1
    assert "are off for your account" not in step1


def test_while_a_change_is_on_its_way_the_page_asks_for_it(client, page, owner, super_admin):
    assert "every 5s" not in page()
    change = change_policy(
        actor=Actor(super_admin), unit=owner.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": True}, based_on=0,
    )  # fmt: skip
    poll = re.search(
        rf'hx-get="({re.escape(LIST)}\?seen=coming[^"]*)" hx-trigger="every 5s"', page()
    )
    asked = {"path": poll[1], "headers": {"HX-Request": "true"}}
    assert client.get(**asked).status_code == 204
    change.waves.update(due_at=Now())
    assert apply_wave(change.waves.get(cohort=owner.cohort).pk)
    html = client.get(**asked).content.decode()
    assert "Outside addresses may use their own SMTP servers, since" in html
    assert "every 5s" not in html


def test_what_polls_after_the_sign_out_gets_the_whole_page_again(client, db):
    answer = client.get(LIST, headers={"HX-Request": "true"})
    assert answer["HX-Refresh"] == "true"
    assert answer.content == b""


def test_the_default_is_made_by_its_button(client, page, owner):
    make_send_as(owner)
    assert client.post(LIST, {"make_default": PARTNER}).status_code == 302
    assert "Default" in row_of(page(), PARTNER)
    make_pending(owner, address="b@partnerdomain.com")
    answer = client.post(LIST, {"make_default": "b@partnerdomain.com"}, follow=True)
    assert "once it is verified" in answer.content.decode()
    assert [each.address for each in list_addresses(owner) if each.is_default] == [PARTNER]


def test_the_address_for_replies_is_chosen_and_kept(client, page, owner):
    assert reply_from(owner) == ReplyFrom.RECEIVED
    assert re.search(r'value="received"[^>]* checked', page())
    saved = client.post(LIST, {"reply_from": "default"}, follow=True)
    assert "Saved: Your default address" in saved.content.decode()
    assert reply_from(owner) == ReplyFrom.DEFAULT
    assert re.search(r'value="default"[^>]* checked', page())
    event = AuditEvent.objects.get(name="reply_from_chosen")
    assert event.details == {"old": "received", "new": "default"}
    client.post(LIST, {"reply_from": "default"})
    assert AuditEvent.objects.filter(name="reply_from_chosen").count() == 1
    assert client.post(LIST, {"reply_from": "nobody"}).status_code == 400


@pytest.mark.parametrize("action", ["make_default", "confirm", "send_again"])
@pytest.mark.parametrize("address", [PARTNER, "user@yourdomain.com", "\0", ""])
def test_strangers_reach_nobodys_rows(client, owner, stranger, mailoutbox, action, address):
    make_pending(owner)
    client.force_login(stranger)
    assert client.post(LIST, {action: address, "code": "1"}).status_code == 404
    assert mailoutbox == []


def test_ten_or_twenty_addresses_cost_the_same_queries(client, owner, allowed):
    client.force_login(owner)

    def queries(numbers: range) -> int:
        for number in numbers:
            send_as = make_send_as(owner, address=f"a{number}@partnerdomain.com")
            SmtpMsa.objects.create(
                send_as=send_as, host="smtp.partnerdomain.com", port=587,
                security_mode="starttls", username="x", key_id="x", ciphertext=b"",
            )  # fmt: skip
            make_pending(owner, address=f"p{number}@partnerdomain.com")
            know_domain(f"d{number}.example", policy="reject")
            make_send_as(owner, address=f"a@d{number}.example")
        with CaptureQueriesContext(connection) as captured:
            html = client.get(LIST).content.decode()
        assert html.count("list-row") == 1 + 3 * numbers.stop
        return len(captured)

    assert queries(range(5)) == queries(range(5, 10))


def test_the_page_holds_no_inline_style_or_script(page, with_gateway, owner):
    make_pending(owner, address="b@partnerdomain.com")
    html = page()
    assert " style=" not in html
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert " onclick" not in html

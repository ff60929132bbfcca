import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import add_alias, suspend_user
from policies.models import AppliedPolicy, Setting
from policies.services import apply_now, change_policy, database_now, pause
from sendas.models import MailDomain, ReplyFrom, SendAs, SmtpMsa
from sendas.services.addresses import (
    list_addresses,
    reply_from,
    set_gateway,
)
from sendas.services.breaker import note_sign_in, record_refusal
from sendas.services.proof import send_proof
from smtp.failure import FailureKind
from tests.policies.rows import apply_wave
from tests.sendas.conftest import (
    PARTNER,
    gateway_at,
    know_domain,
    make_pending,
    make_send_as,
    move_to_next_cohort,
)
from tests.sendas.test_proof import age_mails, code_in

LIST = "/settings/"
ALIAS = "sales@yourdomain.com"


@pytest.fixture
def page(client, owner):
    """Opens the owner's list; the answer is its HTML."""
    client.force_login(owner)
    return lambda: client.get(LIST).content.decode()


@pytest.fixture
def gateway(owner, allowed, partner) -> SendAs:
    send_as = make_send_as(owner)
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway_at(partner.port))
    return send_as


def row_of(html: str, address: str) -> str:
    """The words of one row, tags left out."""
    rows = re.findall(r'<li class="list-row".*?</li>', html, re.DOTALL)
    row = next(row for row in rows if f"<b>{address}</b>" in row)
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())


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


def test_an_address_with_server_goes_through_it(page, gateway, partner):
    row = row_of(page(), PARTNER)
    assert "through localhost" in row
    assert f"Port {partner.port} with STARTTLS" in row
    assert "last signed in" in row


def test_whether_receivers_will_take_it_is_told_for_the_route_that_is_used(page, gateway, owner):
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


def test_a_stopped_server_is_told_with_its_reply(page, gateway):
    reply = "535 5.7.8 <b>authentication</b> failed"
    record_refusal(credential_id=gateway.smtp_msa.credential_id, reply=reply)
    html = page()
    row = row_of(html, PARTNER)
    assert "localhost · stopped" in row
    assert "nothing left by another server" in row
    assert "535 5.7.8 &lt;b&gt;authentication" in html
    assert f'href="/settings/send-as/{gateway.pk}/edit/#id_password"' in html


@pytest.mark.parametrize(
    ("choice", "badge", "told"),
    [
        ("refuse", "localhost · stopped", "Mail from this address is refused until"),
        ("hold", "localhost · stopped", "Mail from this address waits until"),
        (
            "our_servers",
            "by our servers on behalf of user@yourdomain.com",
            "mail from this address leaves by our servers on behalf of user@yourdomain.com",
        ),
    ],
)
@pytest.mark.parametrize("wiped", [False, True])
def test_without_a_password_the_list_says_what_happens_with_mail(
    page, owner, gateway, choice, badge, told, wiped
):
    AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_FAILURE,
        value={"choice": choice}, version=1,
    )  # fmt: skip
    if wiped:
        SmtpMsa.objects.update(wiped_at=Now(), key_id="", ciphertext=b"")
    else:
        record_refusal(credential_id=gateway.smtp_msa.credential_id, reply="535 5.7.8 No")
    html = page()
    row = row_of(html, PARTNER)
    assert badge in row
    assert told in row
    assert "may not be used" not in row
    assert ("Reply of the server: 535 5.7.8 No" in row) is not wiped
    assert f'href="/settings/send-as/{gateway.pk}/edit/#id_password"' in html
    assert f'href="/settings/send-as/{gateway.pk}/by-our-servers/"' in html


@pytest.mark.parametrize(
    ("kind", "told", "topic"),
    [
        (
            FailureKind.CERTIFICATE_EXPIRED,
            "localhost has expired",
            "certificate-expired",
        ),
        (FailureKind.CERTIFICATE_NAME, "for another name than localhost", "certificate-name"),
        (FailureKind.TLS_VERSION, "outdated kind of TLS", "old-encryption"),
        (FailureKind.TIMEOUT, "No mail server answers like that", "no-mail-server"),
        (FailureKind.AUTH_REFUSED, "stopped answering at the sign-in", "put-off"),
    ],
)
def test_a_failed_check_is_told_to_its_owner(page, gateway, kind, told, topic):
    assert "The last check" not in page()
    SmtpMsa.objects.update(check_failure=kind, checked_at=Now())
    html = page()
    row = row_of(html, PARTNER)
    assert "The last check of localhost failed" in row
    assert told in row
    assert "Each message is still tried there" in row
    assert f'href="/settings/help/errors/#{topic}"' in html
    note_sign_in(SmtpMsa.objects.get().credential_id)
    assert "The last check" not in page()


def test_each_kind_of_failure_has_words(page, gateway):
    for kind in FailureKind:
        SmtpMsa.objects.update(check_failure=kind, checked_at=Now())
        assert "The last check of localhost failed" in page()


def test_more_failed_checks_take_no_more_queries(page, owner, partner, gateway):
    other = make_send_as(owner, address="second@partnerdomain.com")
    set_gateway(actor=SYSTEM, send_as=other, gateway=gateway_at(partner.port))
    SmtpMsa.objects.filter(send_as=gateway).update(
        check_failure=FailureKind.CERTIFICATE_NAME, checked_at=Now()
    )
    assert page().count("The last check of") == 1
    with CaptureQueriesContext(connection) as one:
        page()
    SmtpMsa.objects.update(check_failure=FailureKind.CERTIFICATE_NAME, checked_at=Now())
    with CaptureQueriesContext(connection) as two:
        assert page().count("The last check of") == 2
    assert len(two) == len(one)


def test_where_the_policy_is_off_the_server_is_kept_and_not_used(page, gateway, owner):
    from_rows = SmtpMsa.objects.count()
    move_to_next_cohort(owner)
    html = page()
    assert "on behalf of" in row_of(html, PARTNER)
    assert "Own server localhost is kept, not used now" in row_of(html, PARTNER)
    assert "Own SMTP servers are off for your account" in html
    assert SmtpMsa.objects.count() == from_rows == 1


def test_a_change_on_its_way_is_announced_with_its_time(page, gateway, owner, super_admin):
    move_to_next_cohort(owner)
    change = change_policy(
        actor=Actor(super_admin), unit=owner.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": True}, based_on=0,
    )  # fmt: skip
    change.waves.update(due_at=change.starts_at + timedelta(minutes=30))
    html = page()
    assert "Own SMTP servers are allowed, but not on your account yet" in html
    assert "They reach your account by" in html
    assert re.search(r"on behalf of .* from [\d:]+ through localhost", row_of(html, PARTNER))


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
    assert "Until it reaches your account all its mail leaves by our servers." in words
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


def test_a_code_confirms_the_address(client, page, owner, mailoutbox):
    send_proof(make_pending(owner))
    assert "Waiting for proof" in row_of(page(), PARTNER)
    answer = client.post(LIST, {"confirm": PARTNER, "code": code_in(mailoutbox[0])}, follow=True)
    assert answer.redirect_chain == [(LIST, 302)]
    assert answer.content.decode().count(f"{PARTNER} is yours") == 1
    assert "notice-ok" in answer.content.decode()
    assert SendAs.objects.get().is_accepted


def test_a_wrong_code_is_kept_and_told_at_its_row(client, page, owner):
    first, second = make_pending(owner), make_pending(owner, address="b@partnerdomain.com")
    send_proof(first)
    send_proof(second)
    answer = client.post(LIST, {"confirm": PARTNER, "code": "1234 5678"})
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "That is not the code" in row_of(html, PARTNER)
    assert "That is not the code" not in row_of(html, "b@partnerdomain.com")
    assert 'value="1234 5678"' in html
    assert SendAs.objects.get(pk=first.pk).is_pending


@pytest.mark.parametrize(
    ("code", "told"),
    [("", "Type the code from the mail"), ("12 34", "8 digits"), ("1234567x", "8 digits")],
)
def test_what_can_be_no_code_costs_no_try(client, page, owner, code, told):
    send_as = make_pending(owner)
    send_proof(send_as)
    answer = client.post(LIST, {"confirm": PARTNER, "code": code})
    assert told in row_of(answer.content.decode(), PARTNER)
    assert send_as.proofs.get().attempts == 0


def test_after_five_wrong_codes_the_row_says_that_the_link_still_works(client, page, owner):
    send_as = make_pending(owner)
    send_proof(send_as)
    send_as.proofs.update(attempts=4)
    html = client.post(LIST, {"confirm": PARTNER, "code": "1234 5678"}).content.decode()
    row = row_of(html, PARTNER)
    assert "It can be used until" not in row
    assert "The link in the same mail still works until" in row
    assert "That is not the code" in row
    assert 'name="code"' not in html


def test_an_old_code_and_an_old_link_are_told_as_such(page, owner):
    send_as = make_pending(owner)
    send_proof(send_as)
    send_as.proofs.update(code_valid_until=Now())
    assert "The code could be used until" in row_of(page(), PARTNER)
    send_as.proofs.update(link_valid_until=Now())
    assert "No code is under way" in row_of(page(), PARTNER)


def test_in_the_demo_the_row_says_where_the_code_can_be_read(page, owner, settings):
    send_proof(make_pending(owner))
    assert "/demo/" not in page()
    settings.OUTGATE_DEMO = True
    assert f'href="/demo/newest/?to={PARTNER.replace("@", "%40")}"' in page()


def test_a_waiting_row_shows_the_route_that_it_will_take(page, owner):
    send_proof(make_pending(owner))
    row = row_of(page(), PARTNER)
    assert f"by our servers on behalf of {owner.primary_address} once it is proved" in row
    assert "Make default" not in row


def test_no_code_is_due_in_the_list(page, owner):
    send_proof(make_pending(owner))
    assert "autofocus" not in page()


def test_a_mail_is_sent_again_on_demand(client, page, owner, mailoutbox):
    send_proof(make_pending(owner))
    refused = client.post(LIST, {"send_again": PARTNER}, follow=True)
    assert "less than a minute ago" in refused.content.decode()
    age_mails(timedelta(minutes=2))
    sent = client.post(LIST, {"send_again": PARTNER}, follow=True)
    assert f"A new code is on its way to {PARTNER}" in sent.content.decode()
    assert len(mailoutbox) == 2


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


def test_the_page_holds_no_inline_style_or_script(page, gateway, owner):
    make_pending(owner, address="b@partnerdomain.com")
    html = page()
    assert " style=" not in html
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert " onclick" not in html

"""Editing and deleting an address."""

import pytest
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import add_alias
from policies.models import Setting
from policies.services import change_policy
from sendas.models import SendAs, SmtpMsa
from sendas.services.addresses import delete_address, gateway_password
from sendas.services.proof import send_proof
from sendas.services.wiping import wipe_passwords
from tests.sendas.conftest import CANARY, PARTNER, make_pending, make_send_as
from tests.sendas.pages import DETAILS, LIST, edit_page, server_fields
from tests.sendas.test_proof import token_in


def test_the_primary_address_and_an_alias_are_edited_without_a_row(user, owner):
    add_alias(actor=SYSTEM, user=owner, address="a+b@yourdomain.com")
    for address in (owner.primary_address, "a+b@yourdomain.com"):
        url = reverse("sendas:edit_own", query={"address": address})
        html = user.get(url).content.decode()
        assert f"Edit {address}" in html
        assert "Which server carries its mail?" not in html
        answer = user.post(url, DETAILS | {"display_name": "Sales", "reply_to_address": "X@b.ORG"})
        assert answer.status_code == 302
        row = SendAs.objects.get(send_as_email=address)
        assert (row.display_name, row.reply_to_address) == ("Sales", "x@b.org")
        assert row.verification_status == SendAs.VerificationStatus.NOT_NEEDED


@pytest.mark.parametrize("address", ["colleague@yourdomain.com", PARTNER, "", "\0"])
def test_nothing_but_own_addresses_is_edited_by_name(user, owner, colleague, address):
    make_send_as(owner)
    url = reverse("sendas:edit_own", query={"address": address})
    assert user.get(url).status_code == 404
    assert user.post(url, DETAILS).status_code == 404


def test_details_change_without_a_test_of_the_server(user, with_gateway, partner):
    partner.tried.clear()
    before = SmtpMsa.objects.values().get()
    fields = server_fields(partner.port, password="") | DETAILS | {"display_name": "New Name"}
    answer = user.post(edit_page(with_gateway), fields, follow=True)
    assert f"{PARTNER} is saved." in answer.content.decode()
    assert SendAs.objects.get().display_name == "New Name"
    assert SmtpMsa.objects.values().get() == before
    assert partner.tried == []


def test_a_reply_to_address_that_is_none_is_told_and_kept(user, owner):
    answer = user.post(edit_page(make_send_as(owner)), DETAILS | {"reply_to_address": "nowhere"})
    html = answer.content.decode()
    assert "name@example.com" in html
    assert 'value="nowhere"' in html


def test_a_new_password_is_tested_and_lifts_a_refusal(user, with_gateway, partner):
    SmtpMsa.objects.update(refused_at="2026-01-01T00:00Z", refusal="535")
    fields = DETAILS | server_fields(partner.port)
    assert user.post(edit_page(with_gateway), fields).status_code == 302
    assert SmtpMsa.objects.get().refused_at is None


def test_another_host_asks_for_the_password_again(user, with_gateway, partner):
    partner.tried.clear()
    fields = DETAILS | server_fields(partner.port, host="127.0.0.1", password="")
    html = user.post(edit_page(with_gateway), fields).content.decode()
    assert "the stored one belongs to another server or user" in html
    assert 'value="127.0.0.1"' in html
    assert partner.tried == []


def test_a_refused_server_changes_no_detail_either(user, with_gateway, partner):
    fields = (
        server_fields(partner.port, password="mistyped-9f") | DETAILS | {"display_name": "New Name"}
    )
    html = user.post(edit_page(with_gateway), fields).content.decode()
    assert "does not accept this user name and password" in html
    assert 'value="New Name"' in html
    assert "mistyped-9f" not in html
    assert SendAs.objects.get().display_name == "User Name"


def test_after_a_wipe_the_page_does_not_say_that_a_password_is_kept(user, with_gateway, partner):
    wipe_passwords(actor=SYSTEM, host="localhost")
    page = edit_page(with_gateway)
    assert "leave empty to keep the stored one" not in user.get(page).content.decode()
    fields = DETAILS | server_fields(partner.port, username="somebody.else", password="")
    answer = user.post(page, fields)
    assert "Type the password for this server" in answer.content.decode()


def test_by_our_servers_wipes_server_and_password(user, with_gateway):
    assert "The stored password is deleted." in user.get(edit_page(with_gateway)).content.decode()
    fields = DETAILS | {"route": "ours"}
    assert user.post(edit_page(with_gateway), fields).status_code == 302
    assert not SmtpMsa.objects.exists()


def test_a_stored_password_is_never_shown(user, with_gateway):
    html = user.get(edit_page(with_gateway)).content.decode()
    assert CANARY not in html
    assert 'name="password"' in html
    assert 'type="password" name="password" value' not in html
    assert "leave empty to keep the stored one" in html


def test_an_address_gets_its_server_later(user, owner, allowed, partner):
    send_as = make_send_as(owner)
    assert user.post(edit_page(send_as), DETAILS | server_fields(partner.port)).status_code == 302
    assert gateway_password(SmtpMsa.objects.get()) == CANARY


def test_where_the_policy_is_off_no_server_is_offered(user, owner):
    html = user.get(edit_page(make_send_as(owner))).content.decode()
    assert 'name="password"' not in html
    assert "Own SMTP servers are off for your account" in html


def test_a_change_of_server_before_the_proof_sends_a_new_code(
    user, owner, allowed, partner, mailoutbox
):
    send_as = make_pending(owner)
    send_proof(send_as)
    answer = user.post(edit_page(send_as), DETAILS | server_fields(partner.port), follow=True)
    # The first mail is younger than a minute: the next is one button away.
    html = answer.content.decode()
    assert "less than a minute ago" in html
    assert "Send a code" in html
    assert user.get(f"/settings/send-as/confirm/{token_in(mailoutbox[0])}/").status_code == 404


def test_inside_the_own_domains_no_server_is_offered_and_the_page_says_why(user, owner, allowed):
    row = make_send_as(owner, address="team@yourdomain.com")
    html = user.get(edit_page(row)).content.decode()
    assert "It lies inside the organisation’s domains." in html
    assert "are off for your account" not in html


def test_while_the_policy_is_on_its_way_the_page_says_by_when(user, owner, super_admin):
    row = make_send_as(owner)
    assert "only your administrator can turn them on" in user.get(edit_page(row)).content.decode()
    change_policy(
        actor=Actor(super_admin), unit=owner.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": True}, based_on=0,
    )  # fmt: skip
    html = user.get(edit_page(row)).content.decode()
    assert "Own SMTP servers reach your account by" in html
    assert "are off for your account" not in html


def test_a_port_that_is_no_longer_allowed_stays_chosen(user, with_gateway, partner, settings):
    settings.OUTGATE_EGRESS_PORTS = frozenset({465, 587})
    html = user.get(edit_page(with_gateway)).content.decode()
    assert f'<option value="{partner.port}" selected>' in html


def test_a_second_click_on_delete_is_no_second_deletion(user, owner):
    row = make_send_as(owner)
    for _ in range(2):
        delete_address(actor=SYSTEM, send_as=SendAs(pk=row.pk, user=owner, send_as_email=PARTNER))
    assert AuditEvent.objects.filter(name="send_as_deleted").count() == 1


def test_deleting_asks_first(user, with_gateway):
    url = reverse("sendas:delete", args=[with_gateway.pk])
    html = user.get(url).content.decode()
    assert f"Delete {PARTNER}?" in html
    assert "The password for localhost is deleted with it" in html
    assert SendAs.objects.exists()
    assert user.post(url).url == LIST
    assert not SendAs.objects.exists()
    assert not SmtpMsa.objects.exists()


@pytest.mark.parametrize("name", ["sendas:edit", "sendas:delete"])
def test_strangers_and_administrators_find_nothing(client, owner, stranger, super_admin, name):
    url = reverse(name, args=[make_send_as(owner).pk])
    for person in (stranger, super_admin):
        client.force_login(person)
        assert client.get(url).status_code == 404
        assert client.post(url, DETAILS).status_code == 404
    assert SendAs.objects.get().display_name == "User Name"


def test_a_row_of_an_alias_is_no_outside_address(user, owner):
    add_alias(actor=SYSTEM, user=owner, address="a@yourdomain.com")
    row = make_send_as(owner, address="a@yourdomain.com", status="")
    assert user.get(edit_page(row)).status_code == 404
    assert user.post(reverse("sendas:delete", args=[row.pk])).status_code == 404

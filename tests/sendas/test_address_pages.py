"""Adding, editing and deleting an address, and the link in the mail."""

import pytest
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import add_alias
from policies.models import Setting
from policies.services import change_policy
from sendas.forms import ServerForm
from sendas.models import ConnectionTest, SendAs, SmtpMsa
from sendas.services.addresses import delete_address, gateway_password, set_gateway
from sendas.services.proof import send_proof
from sendas.services.wiping import wipe_passwords
from tests.sendas.conftest import (
    CANARY,
    PARTNER,
    gateway_at,
    make_pending,
    make_send_as,
    move_to_next_cohort,
)
from tests.sendas.test_proof import code_in, token_in

LIST, ADD = "/settings/", "/settings/send-as/add/"
SERVER = "/settings/send-as/server/?address=user.name%40partnerdomain.com"
BACK = "/settings/send-as/add/?address=user.name%40partnerdomain.com"
EDIT_OWN = "/settings/send-as/edit/"
NEW = {"display_name": "User Name", "address": PARTNER, "treat_as_alias": "on"}
DETAILS = {"display_name": "User Name", "reply_to_address": "", "treat_as_alias": "on"}


def edit_page(send_as: SendAs) -> str:
    return reverse("sendas:edit", args=[send_as.pk])


def server_fields(port: int, **changes: object) -> dict[str, object]:
    fields = {
        "route": "own", "host": "localhost", "port": port, "security_mode": "starttls",
        "username": PARTNER, "password": CANARY,
    }  # fmt: skip
    return fields | changes


@pytest.fixture
def user(client, owner):
    """The owner, signed in."""
    client.force_login(owner)
    return client


@pytest.mark.parametrize("mode", ["none", "", "tls"])
def test_no_server_is_used_without_verified_encryption(user, allowed, partner, mode):
    """Only the operator may, for the relay that he names."""
    assert set(SmtpMsa._meta.get_field("security_mode").choices) == set(
        ServerForm.base_fields["security_mode"].choices
    )
    user.post(ADD, NEW)
    answer = user.post(SERVER, server_fields(partner.port, security_mode=mode))
    assert answer.status_code == 200
    assert "security_mode" in answer.context["form"].errors
    assert partner.tried == []
    assert not SmtpMsa.objects.exists()


@pytest.fixture
def with_gateway(owner, allowed, partner) -> SendAs:
    send_as = make_send_as(owner)
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway_at(partner.port))
    return SendAs.objects.get()


@pytest.mark.parametrize(
    "url", [ADD, SERVER, "/settings/send-as/edit/", "/settings/send-as/1/edit/"]
)
def test_pages_ask_for_sign_in_and_take_get_and_post_only(client, owner, url):
    assert client.get(url).url.startswith("/sign-in/")
    client.force_login(owner)
    assert client.delete(url).status_code == 405


def proof_page(address: str = PARTNER) -> str:
    return f"/settings/send-as/{SendAs.objects.get(send_as_email=address).pk}/prove/"


def test_where_the_policy_is_off_an_address_is_added_at_once(user, owner, mailoutbox):
    page = user.get(ADD).content.decode()
    assert "will leave by our servers" in page
    assert f"on behalf of {owner.primary_address}" in page
    answer = user.post(ADD, NEW)
    assert (answer.status_code, answer.url) == (302, proof_page())
    assert SendAs.objects.get().is_pending
    assert mailoutbox[0].to == [PARTNER]
    assert not SmtpMsa.objects.exists()


def test_a_refused_address_stays_in_its_field_with_the_reason(user):
    answer = user.post(ADD, NEW | {"display_name": "Nom", "address": "user.name(at)partner"})
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "An address has the form name@example.com" in html
    assert 'value="user.name(at)partner"' in html
    assert 'value="Nom"' in html
    assert not SendAs.objects.exists()


def test_what_few_need_is_folded_until_something_stands_in_it(user):
    assert '<details class="disclosure">' in user.get(ADD).content.decode()
    answer = user.post(ADD, NEW | {"reply_to_address": "nobody"})
    assert '<details class="disclosure" open>' in answer.content.decode()


def test_a_name_can_not_carry_a_line_break(user):
    answer = user.post(ADD, NEW | {"display_name": "User\r\nBcc: x@example.com"})
    assert "Leave out line breaks" in answer.content.decode()
    assert not SendAs.objects.exists()


def test_where_the_policy_is_on_the_server_is_the_next_step(user, allowed, mailoutbox):
    answer = user.post(ADD, NEW)
    assert (answer.status_code, answer.url) == (302, SERVER)
    assert not SendAs.objects.exists()
    html = user.get(SERVER).content.decode()
    assert f"Add {PARTNER}" in html
    assert f'name="username" value="{PARTNER}"' in html
    # Back to the first step: it is as it was left.
    assert f'href="{BACK}"' in html
    assert f'value="{PARTNER}"' in user.get(BACK).content.decode()
    assert mailoutbox == []


def test_an_address_with_its_server_is_tested_kept_and_sent_a_code(
    user, allowed, partner, mailoutbox
):
    user.post(ADD, NEW)
    answer = user.post(SERVER, server_fields(partner.port))
    assert (answer.status_code, answer.url) == (302, proof_page())
    assert partner.tried == [CANARY]
    assert gateway_password(SmtpMsa.objects.get()) == CANARY
    assert SendAs.objects.get().is_pending
    assert len(mailoutbox) == 1
    html = user.get(proof_page()).content.decode()
    assert "localhost accepted the password." in html
    assert html.count("autofocus") == 1
    assert html.count('class="btn btn-primary"') == 1
    assert user.get(SERVER).url == ADD  # the draft is gone


def test_the_code_is_typed_on_a_page_of_its_own(user, mailoutbox):
    user.post(ADD, NEW)
    page = proof_page()
    wrong = user.post(page, {"code": "1234"})
    assert wrong.status_code == 200
    assert "The code has 8 digits" in wrong.content.decode()
    assert 'value="1234"' in wrong.content.decode()
    again = user.post(page, {"send_again": PARTNER}, follow=True)
    assert again.redirect_chain == [(page, 302)]
    assert "less than a minute ago" in again.content.decode()
    done = user.post(page, {"code": code_in(mailoutbox[0])}, follow=True)
    assert done.redirect_chain == [(LIST, 302)]
    assert f"{PARTNER} is yours" in done.content.decode()
    assert user.get(page).url == LIST


def test_two_addresses_in_two_tabs_keep_their_own_servers(user, allowed, partner):
    user.post(ADD, NEW)
    other = user.post(ADD, NEW | {"address": "other@partnerdomain.com"}).url
    assert user.post(SERVER, server_fields(partner.port)).url == proof_page()
    assert user.post(other, {"route": "ours"}).url == proof_page("other@partnerdomain.com")
    assert SmtpMsa.objects.get().send_as.send_as_email == PARTNER
    assert SendAs.objects.count() == 2


def test_a_step_that_was_left_is_taken_up_again_from_the_list(user, allowed, partner):
    user.post(ADD, NEW | {"reply_to_address": "Desk@partnerdomain.com"})
    html = user.get(LIST).content.decode()
    assert "Not finished" in html
    assert f'href="{SERVER}"' in html
    assert user.post(SERVER, server_fields(partner.port)).url == proof_page()
    assert SendAs.objects.get().reply_to_address == "desk@partnerdomain.com"
    assert "Not finished" not in user.get(LIST).content.decode()


def test_a_draft_can_be_discarded(user, allowed):
    user.post(ADD, NEW)
    assert user.post(LIST, {"discard": PARTNER}).url == LIST
    assert "Not finished" not in user.get(LIST).content.decode()
    assert user.post(LIST, {"discard": "nobody@example.com"}).url == LIST


def test_an_address_that_was_added_elsewhere_is_no_draft_any_more(user, owner, allowed):
    user.post(ADD, NEW)
    make_pending(owner)
    assert "Not finished" not in user.get(LIST).content.decode()


def test_only_the_newest_drafts_are_kept(user, allowed):
    pages = [user.post(ADD, NEW | {"address": f"a{n}@partnerdomain.com"}).url for n in range(6)]
    user.post(ADD, NEW | {"address": "a1@partnerdomain.com", "display_name": "Again"})
    assert [user.get(page).status_code for page in pages] == [302, *[200] * 5]
    assert user.get(ADD).context["form"]["address"].value() is None


def test_by_our_servers_needs_no_server_fields(user, allowed):
    user.post(ADD, NEW)
    answer = user.post(SERVER, {"route": "ours", "host": "", "port": "", "username": ""})
    assert answer.status_code == 302
    assert not SmtpMsa.objects.exists()


def test_a_refused_password_leaves_everything_typed_but_the_password(
    user, allowed, partner, mailoutbox
):
    user.post(ADD, NEW)
    answer = user.post(SERVER, server_fields(partner.port, password="a wrong one"))
    html = answer.content.decode()
    assert answer.status_code == 200
    assert "does not accept this user name and password" in html
    assert "535 5.7.8" in html
    assert "What you typed is kept, except the password." in html
    assert 'value="localhost"' in html
    assert f'<option value="{partner.port}" selected>' in html
    assert "a wrong one" not in html
    assert answer.context["form"].errors.keys() == {"__all__", "password"}
    assert not SendAs.objects.exists()
    assert mailoutbox == []


def test_missing_fields_are_named_one_by_one(user, allowed):
    user.post(ADD, NEW)
    answer = user.post(SERVER, {"route": "own", "port": "587", "security_mode": "starttls"})
    html = answer.content.decode()
    for words in ("Type the name of the SMTP server", "Type the user name", "Type the password"):
        assert words in html


@pytest.mark.parametrize(
    "host",
    ["https://mail.example", "[::1]", "mail example", "mail.example:587", "-a.example", "a..b",
     "_a.example", "x" * 64],
)  # fmt: skip
def test_what_can_be_no_name_is_refused_without_a_test(user, allowed, host):
    user.post(ADD, NEW)
    html = user.post(SERVER, server_fields(587, host=host)).content.decode()
    assert "looks like smtp.example.com" in html
    assert f'value="{host}"' in html
    assert not ConnectionTest.objects.exists()


@pytest.mark.parametrize("host", ["Mail.Example.", "localhost", "xn--bcher-kva.example", "büro.jp"])
def test_names_of_servers_are_kept_in_lower_case(host):
    form = ServerForm(server_fields(587, host=host), address=PARTNER, route="own")
    assert form.is_valid()
    assert form.gateway.host == host.lower().removesuffix(".")


def test_a_policy_that_went_off_meanwhile_loses_nothing_typed(user, allowed, owner, partner):
    user.post(ADD, NEW)
    move_to_next_cohort(owner)
    answer = user.post(SERVER, server_fields(partner.port))
    html = answer.content.decode()
    assert "Own servers are off for your account" in html
    assert 'value="localhost"' in html
    assert partner.tried == []
    assert user.get(SERVER).url == BACK
    assert user.post(SERVER, {"route": "ours"}).url == proof_page()
    assert SendAs.objects.get().is_pending


def test_an_own_domains_address_gets_no_choice_of_a_server(user, allowed, mailoutbox):
    answer = user.post(ADD, NEW | {"address": "team@yourdomain.com"})
    assert answer.url == proof_page("team@yourdomain.com")
    assert mailoutbox[0].to == ["team@yourdomain.com"]


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


@pytest.fixture
def link(owner, mailoutbox) -> str:
    send_proof(make_pending(owner))
    return f"/settings/send-as/confirm/{token_in(mailoutbox[0])}/"


def test_opening_the_link_confirms_nothing_and_its_button_does(user, link):
    for _ in range(2):
        answer = user.get(link)
        # On a narrow page the address breaks at its @ and dots, not in a word.
        broken = PARTNER.replace("@", "@<wbr>").replace(".", "<wbr>.")
        assert f"Send mail as {broken}<wbr>?" in answer.content.decode()
        assert SendAs.objects.get().is_pending
    assert user.head(link).status_code == 200
    answer = user.post(link, follow=True)
    assert f"{PARTNER} is yours" in answer.content.decode()
    assert SendAs.objects.get().is_accepted
    for again in (user.get(link), user.post(link)):
        assert again.status_code == 404
        assert "This link can't be used" in again.content.decode()


def test_the_link_asks_for_sign_in_and_comes_back(client, link):
    answer = client.get(link)
    assert answer.status_code == 302
    assert answer.url == f"/sign-in/?next={link}"
    assert client.post(link).status_code == 302
    assert SendAs.objects.get().is_pending


def test_the_link_is_worth_nothing_to_another_account(client, stranger, link):
    client.force_login(stranger)
    for answer in (client.get(link), client.post(link)):
        assert answer.status_code == 404
        assert PARTNER not in answer.content.decode()
    assert SendAs.objects.get().is_pending

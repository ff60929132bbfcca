"""Adding an address, step by step."""

import pytest

from sendas.forms import ServerForm
from sendas.models import ConnectionTest, SendAs, SmtpMsa
from sendas.services.addresses import gateway_password
from tests.sendas.conftest import CANARY, PARTNER, make_pending, move_to_next_cohort
from tests.sendas.pages import ADD, BACK, LIST, NEW, SERVER, proof_page, server_fields


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


@pytest.mark.parametrize(
    "url", [ADD, SERVER, "/settings/send-as/edit/", "/settings/send-as/1/edit/"]
)
def test_pages_ask_for_sign_in_and_take_get_and_post_only(client, owner, url):
    assert client.get(url).url.startswith("/sign-in/")
    client.force_login(owner)
    assert client.delete(url).status_code == 405


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

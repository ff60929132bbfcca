"""Proof of ownership on the pages: the code in the list and on its own page, the link."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from sendas.models import SendAs
from sendas.services.proof import send_proof
from tests.sendas.conftest import PARTNER, make_pending
from tests.sendas.pages import ADD, LIST, NEW, proof_page, row_of
from tests.sendas.test_proof import age_mails, code_in, token_in


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

"""A stored password that is in doubt is tested again, once for each time its owner asks."""

import html
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from policies.models import AppliedPolicy
from sendas.models import ConnectionTest, SmtpMsa
from sendas.services.breaker import record_refusal
from tests.sendas.conftest import CANARY, PARTNER
from tests.sendas.pages import DETAILS, LIST, edit_page, server_fields

pytestmark = pytest.mark.django_db

BUTTON = "Try the stored password again"


@pytest.fixture
def refused(client, owner, partner, with_gateway):
    """An address whose server refused the password before; its owner is signed in."""
    record_refusal(credential_id=SmtpMsa.objects.get().credential_id, reply="535 5.7.8 Old")
    partner.tried.clear()
    ConnectionTest.objects.all().delete()
    client.force_login(owner)
    return with_gateway


def click(client) -> str:
    answer = client.post(LIST, {"try_password": PARTNER}, follow=True)
    return html.unescape(answer.content.decode())


def save(client, send_as, partner) -> str:
    fields = DETAILS | server_fields(partner.port, password="") | {"display_name": "New Name"}
    answer = client.post(edit_page(send_as), fields, follow=True)
    return html.unescape(answer.content.decode())


def test_a_good_test_closes_the_breaker_after_one_attempt(client, refused, partner):
    assert BUTTON in client.get(LIST).content.decode()
    before = SmtpMsa.objects.get().credential_id
    shown = click(client)
    assert "localhost took the stored password." in shown
    assert BUTTON not in shown
    msa = SmtpMsa.objects.get()
    assert msa.works
    assert msa.claimed_until is None
    assert msa.credential_id != before  # what is held for that one is released
    assert partner.tried == [CANARY]
    assert ConnectionTest.objects.count() == 1


def test_a_bad_one_says_so_and_leaves_it_open(client, refused, partner):
    partner.sign_in_reply = "535 5.7.8 Error: authentication failed"
    since = SmtpMsa.objects.get().refused_at
    shown = click(client)
    assert "localhost does not accept this user name and password." in shown
    assert BUTTON in shown
    msa = SmtpMsa.objects.get()
    assert (msa.refused_at, msa.claimed_until) == (since, None)
    assert msa.refusal.startswith("535")
    assert "Old" not in msa.refusal
    assert partner.tried == [CANARY]


def test_nobody_tries_it_while_another_does(client, refused, partner):
    SmtpMsa.objects.update(claimed_until=Now() + timedelta(seconds=10))
    assert "The password is being tried at this moment." in click(client)
    assert partner.tried == []


def test_no_more_than_ten_in_an_hour(client, refused, partner):
    ConnectionTest.objects.bulk_create(ConnectionTest(user=refused.user) for _ in range(10))
    assert "10 tests within an hour are enough." in click(client)
    assert partner.tried == []
    assert SmtpMsa.objects.get().claimed_until is None


def test_saving_with_the_password_left_empty_tests_the_stored_one(client, refused, partner):
    shown = save(client, refused, partner)
    assert "localhost took the stored password." in shown
    assert SmtpMsa.objects.get().works
    assert partner.tried == [CANARY]


def test_where_that_fails_the_rest_is_saved(client, refused, partner):
    partner.sign_in_reply = "535 5.7.8 Error: authentication failed"
    shown = save(client, refused, partner)
    assert "localhost does not accept this user name and password." in shown
    assert "New Name" in shown
    assert SmtpMsa.objects.get().refused_at
    assert partner.tried == [CANARY]


@pytest.mark.parametrize("works", [True, False])
def test_a_failed_check_is_tested_again_too(client, refused, partner, works):
    SmtpMsa.objects.update(refused_at=None, refusal="", check_failure="certificate_expired")
    if not works:
        partner.sign_in_reply = "535 5.7.8 Error: authentication failed"
    save(client, refused, partner)
    msa = SmtpMsa.objects.get()
    assert msa.works is works
    assert msa.claimed_until is None
    assert partner.tried == [CANARY]
    if works:
        assert msa.check_failure == ""


def test_a_password_that_works_is_not_tried(client, refused, partner):
    SmtpMsa.objects.update(refused_at=None, refusal="")
    click(client)
    assert partner.tried == []


def test_where_own_servers_are_off_nothing_is_tried_and_the_rest_is_saved(client, refused, partner):
    AppliedPolicy.objects.all().delete()
    click(client)
    assert "New Name" in save(client, refused, partner)
    assert partner.tried == []


def test_nobody_else_can_ask_for_it(client, refused, colleague, partner):
    client.force_login(colleague)
    assert client.post(LIST, {"try_password": PARTNER}).status_code == 404
    assert partner.tried == []

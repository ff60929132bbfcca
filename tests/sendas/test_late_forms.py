"""A form from a page of a session that has ended is shown as typed, and nothing is done."""

import html
import re
from typing import NamedTuple

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from accounts.models import AppPassword
from accounts.services.audit import SYSTEM
from sendas.models import SendAs, SmtpMsa
from sendas.services.addresses import set_gateway
from tests.conftest import PASSWORD
from tests.sendas.conftest import CANARY, PARTNER, gateway_at, make_send_as

SIGNED_OUT = "you were signed out while you typed"
AGAIN = "you signed in again while you typed"
DETAILS = {
    "display_name": "Typed Name", "reply_to_address": "not an address", "signature": "Typed <b>",
}  # fmt: skip
SERVER = {
    "route": "own", "host": "smtp.typed.example", "port": "465", "security_mode": "ssl",
    "username": "typed-user", "password": "typed-secret-9c",
}  # fmt: skip


class Page(NamedTuple):
    url: str
    typed: dict[str, str]


@pytest.fixture
def browser(owner) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    return client


def _add(browser, owner) -> Page:
    return Page(reverse("sendas:add"), DETAILS | {"address": "not an address"})


def _server(browser, owner) -> Page:
    page = reverse("sendas:add")
    new = {"display_name": "User Name", "address": PARTNER, "reply_to_address": "desk@x.example"}
    return Page(browser.post(page, new | hidden(browser, page)).url, SERVER)


def _edit(browser, owner) -> Page:
    return Page(reverse("sendas:edit", args=[make_send_as(owner).pk]), DETAILS | SERVER)


def _find(browser, owner) -> Page:
    page = _edit(browser, owner)
    return page._replace(typed=page.typed | {"find": ""})


def _edit_own(browser, owner) -> Page:
    return Page(f"{reverse('sendas:edit_own')}?address={owner.primary_address}", DETAILS)


def _app_password(browser, owner) -> Page:
    return Page(reverse("accounts:app_passwords"), {"name": "Typed laptop", "create": ""})


PAGES = [_add, _server, _edit, _find, _edit_own, _app_password]


@pytest.fixture(params=PAGES, ids=lambda make: make.__name__[1:])
def page(request, browser, owner, allowed) -> Page:
    return request.param(browser, owner)


def fields_of(answer) -> dict[str, str]:
    """The hidden fields of the last form of the page's own."""
    form = answer.content.decode().rpartition("</main>")[0].rpartition("<form")[2]
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


def hidden(browser, url: str) -> dict[str, str]:
    return fields_of(browser.get(url))


def sign_out(browser) -> None:
    """As a session ends by itself: the browser still has its cookies."""
    Session.objects.all().delete()


def sign_in_again(browser, person) -> None:
    sign_out(browser)
    page = reverse("account_login")
    typed = {"login": person.primary_address, "password": PASSWORD}
    assert browser.post(page, typed | hidden(browser, page)).status_code == 302


def nothing_was_done() -> bool:
    return not (
        AppPassword.objects.exists()
        or SmtpMsa.objects.exists()
        or SendAs.objects.exclude(send_as_email=PARTNER, display_name="User Name").exists()
    )


def shows(answer, typed: dict[str, str]) -> None:
    """The form as typed and not judged, without what was a password."""
    text = answer.content.decode()
    assert "typed-secret-9c" not in text
    assert "field-error" not in text
    for name in {"display_name", "address", "reply_to_address", "host", "username", "name"} & set(
        typed
    ):
        assert f'name="{name}" value="{typed[name]}"' in text
    if "signature" in typed:
        assert "Typed &lt;b&gt;</textarea>" in text
        assert not re.search(r'name="treat_as_alias"[^>]*checked', text)  # it was cleared
    if "port" in typed:
        assert '<option value="465" selected>' in text
        assert '<option value="ssl" selected>' in text


def test_after_the_sign_in_the_form_is_there_as_typed(browser, owner, page):
    posted = page.typed | hidden(browser, page.url)
    sign_out(browser)
    kept = browser.post(page.url, posted)
    assert kept.status_code == 422
    assert SIGNED_OUT in kept.content.decode()
    assert "typed-secret-9c" not in kept.content.decode()
    carried = fields_of(kept)
    assert set(posted) - set(carried) == {"password"} & set(posted)
    sign_in_again(browser, owner)
    shown = browser.post(page.url, carried)
    assert AGAIN in shown.content.decode()
    shows(shown, page.typed)
    assert nothing_was_done()


def test_signed_in_again_in_another_tab_the_form_is_there_at_once(browser, owner, page):
    posted = page.typed | hidden(browser, page.url)
    sign_in_again(browser, owner)
    shown = browser.post(page.url, posted)
    assert AGAIN in shown.content.decode()
    shows(shown, page.typed)
    assert nothing_was_done()


def test_another_account_never_sees_it(browser, stranger, page):
    posted = page.typed | hidden(browser, page.url)
    sign_out(browser)
    carried = fields_of(browser.post(page.url, posted))
    sign_in_again(browser, stranger)
    for fields in (posted, carried):
        answer = browser.post(page.url, fields)
        assert answer.status_code == 403
        assert "belongs to another account" in answer.content.decode()
        for value in page.typed.values():
            assert len(value) < 5 or html.escape(value) not in answer.content.decode()
    assert nothing_was_done()


def test_what_names_no_account_is_never_shown(browser, owner, page):
    posted = page.typed | {"typed_by": f"{owner.pk}:forged"}
    assert browser.post(page.url, posted).status_code == 403
    sign_out(browser)
    answer = browser.post(page.url, posted)
    assert answer.status_code == 302
    assert answer.url.startswith("/sign-in/")


def test_the_second_step_goes_on_in_the_new_session(owner, browser, allowed, partner, mailoutbox):
    url = _server(browser, owner).url
    server = SERVER | {
        "host": "localhost", "port": str(partner.port), "security_mode": "starttls",
        "username": PARTNER, "password": CANARY,
    }  # fmt: skip
    posted = server | hidden(browser, url)
    sign_out(browser)
    carried = fields_of(browser.post(url, posted))
    sign_in_again(browser, owner)
    shown = browser.post(url, carried)
    assert 'value="localhost"' in shown.content.decode()
    assert partner.tried == []
    assert browser.post(url, server | fields_of(shown)).status_code == 302
    assert SendAs.objects.get().reply_to_address == "desk@x.example"
    assert SmtpMsa.objects.get().host == "localhost"
    assert len(mailoutbox) == 1


def test_a_draft_of_another_account_is_not_taken_up(browser, owner, stranger, allowed):
    url = _server(browser, owner).url
    draft = hidden(browser, url)["draft"]
    sign_in_again(browser, stranger)
    own = hidden(browser, reverse("sendas:add"))
    sign_in_again(browser, stranger)
    answer = browser.post(url, SERVER | own | {"draft": draft})
    assert (answer.status_code, answer.url) == (302, reverse("sendas:add"))


def test_a_changed_server_keeps_its_own_until_the_form_is_sent_again(
    browser, owner, allowed, partner
):
    send_as = make_send_as(owner)
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway_at(partner.port))
    url = reverse("sendas:edit", args=[send_as.pk])
    posted = DETAILS | SERVER | hidden(browser, url)
    sign_in_again(browser, owner)
    assert 'value="smtp.typed.example"' in browser.post(url, posted).content.decode()
    assert SmtpMsa.objects.get().host == "localhost"

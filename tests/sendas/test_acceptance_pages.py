"""Before a route is chosen, the page says for both whether receivers will take the mail."""

import re

import pytest

from sendas.models import MailDomain, SendAs
from tests.sendas.conftest import make_send_as

ADD = "/settings/send-as/add/"
PARTNER = "user.name@partner.example"
NEW = {"display_name": "User Name", "address": PARTNER, "treat_as_alias": "on"}
NAMED = "partner.example names smtp.partner.example as a server for its mail (SPF): expect"
REJECTED = "partner.example tells receivers to reject mail that its own servers did not send"
NOT_KNOWN = "partner.example has not told its rules"


@pytest.fixture
def strict(dns):
    dns.say("_submission._tcp.partner.example", "SRV", "0 1 587 smtp.partner.example.")
    dns.say("_dmarc.partner.example", "TXT", "v=DMARC1; p=reject")
    dns.say("partner.example", "TXT", "v=spf1 a:smtp.partner.example -all")
    dns.say("smtp.partner.example", "A", "93.184.216.34")
    return dns


def choices(html: str) -> list[str]:
    """The words of each route, tags left out."""
    found = re.findall(r'<div class="route-choice">.*?<div class="preview">', html, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", choice).split()) for choice in found]


def test_the_wizard_judges_both_routes(user, allowed, strict):
    own_server, our_servers = choices(user.post(ADD, NEW, follow=True).content.decode())
    assert NAMED in own_server
    assert REJECTED in our_servers


def test_what_was_heard_is_asked_for_once(user, allowed, strict):
    user.post(ADD, NEW)
    strict.asked.clear()
    html = user.post(ADD, NEW, follow=True).content.decode()
    assert NAMED in html
    assert strict.asked == []


def test_no_answer_is_told_and_stops_nobody(user, owner, allowed, dns):
    dns.broken = True
    page = user.post(ADD, NEW, follow=True)
    own_server, our_servers = choices(page.content.decode())
    assert NOT_KNOWN in own_server
    assert NOT_KNOWN in our_servers
    user.post(page.redirect_chain[-1][0], {"route": "ours"})
    assert SendAs.objects.get(user=owner).send_as_email == PARTNER
    assert NOT_KNOWN not in user.get("/settings/").content.decode()  # its owner proves it first


def test_nobody_is_asked_for_an_address_without_a_choice(user, owner, dns):
    user.post(ADD, NEW)
    assert dns.asked == []
    assert MailDomain.objects.get().answered_at is None


def test_the_edit_page_judges_both_routes(user, owner, allowed, strict):
    send_as = make_send_as(owner, address=PARTNER)
    page = f"/settings/send-as/{send_as.pk}/edit/"
    assert NOT_KNOWN in user.get(page).content.decode()
    own_server, our_servers = choices(user.post(page, {"find": ""}).content.decode())
    assert NAMED in own_server
    assert REJECTED in our_servers


def test_where_only_our_servers_are_left_the_page_says_so_too(user, owner, strict):
    send_as = make_send_as(owner, address=PARTNER)
    html = user.get(f"/settings/send-as/{send_as.pk}/edit/").content.decode()
    assert NOT_KNOWN in html
    assert choices(html) == []

import pytest
from django.urls import reverse

from tests.console.rows import text_of

SEARCH = "/console/search/"


@pytest.mark.parametrize(
    ("words", "view_name"),
    [
        ("gateway", "console:mail_advanced"),
        ("GATEWAYS per-user", "console:mail_advanced"),
        ("smtp", "console:mail_access"),
        ("wave", "console:rollouts"),
        ("simulate", "console:simulator"),
        ("csv", "console:audit"),
        ("privilege", "console:administrators"),
        ("suspend", "console:accounts"),
        ("move account", "console:accounts"),
        ("move", "console:units"),
        ("unit", "console:units"),
        ("delete unit", "console:units"),
    ],
)
def test_a_word_of_a_setting_finds_its_page(client, super_admin, words, view_name):
    client.force_login(super_admin)
    html = client.get(SEARCH, {"q": words}).content.decode()
    assert f'class="setting-row" href="{reverse(view_name)}"' in html


def test_a_page_without_the_right_is_told_with_who_can_give_it(client, reports_admin):
    client.force_login(reports_admin)
    response = client.get(SEARCH, {"q": "gateway"})
    assert "A super administrator can give you this." in text_of(response)
    assert reverse("console:mail_advanced") not in response.content.decode()
    assert 'href="/console/audit/"' in client.get(SEARCH, {"q": "audit"}).content.decode()


@pytest.mark.parametrize("words", ["zebra", "<b>", "gateway zebra"])
def test_nothing_found_repeats_what_was_looked_for(client, super_admin, words):
    client.force_login(super_admin)
    response = client.get(SEARCH, {"q": words})
    assert "No page fits “" in text_of(response)
    assert "<b>”" not in response.content.decode()


def test_an_empty_search_says_what_to_type(client, super_admin):
    client.force_login(super_admin)
    assert "Type a word" in text_of(client.get(SEARCH, {"q": " "}))


def test_either_privilege_leads_to_the_accounts(client, users_admin, unit_admin):
    for user, is_open in ((users_admin, True), (unit_admin, False)):
        client.force_login(user)
        html = client.get(SEARCH, {"q": "move"}).content.decode()
        assert f'href="{reverse("console:accounts")}"' in html
        assert (f'class="setting-row" href="{reverse("console:units")}"' in html) == is_open


@pytest.mark.parametrize(
    ("begun", "query"),
    [("user@yourdomain.com", "user%40yourdomain.com"), ("user@y", "user%40y"), ("jonas", "jonas")],
)
def test_an_address_or_how_it_begins_leads_to_the_accounts(
    client, super_admin, users_admin, reports_admin, begun, query
):
    for user in (super_admin, users_admin):
        client.force_login(user)
        html = client.get(SEARCH, {"q": begun}).content.decode()
        assert f'href="{reverse("console:accounts")}?q={query}"' in html
    client.force_login(reports_admin)
    assert "Look up" not in text_of(client.get(SEARCH, {"q": begun}))
    client.force_login(super_admin)
    assert "Look up" not in text_of(client.get(SEARCH, {"q": "nobody here"}))

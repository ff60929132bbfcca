import re

from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from policies.models import PolicyChange
from tests.conftest import Organisation
from tests.console.rows import count_queries, create_units, save_value, text_of


def page_of(unit: OrgUnit) -> str:
    return reverse("console:mail_advanced", args=[unit.pk])


def test_a_unit_administrator_sees_the_way_down_as_plain_names(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    html = client.get(page_of(organisation.partner_desk)).content.decode()
    rows = re.findall(r'<a class="tree-row"([^>]*)>.*?tree-name">([^<]*)<', html, re.DOTALL)
    assert [(name, "href" in attributes) for attributes, name in rows] == [
        ("yourdomain.com", False),
        ("Sales", True),
        ("Partner desk", True),
    ]


def test_the_tree_shows_own_values_and_accounts_with_those_below(
    client: Client, super_admin: User, owner: User, colleague: User, organisation: Organisation
) -> None:
    save_value(user=super_admin, unit=organisation.partner_desk)
    client.force_login(super_admin)
    words = text_of(client.get(page_of(organisation.sales)))
    assert "yourdomain.com own values further down 3 accounts" in words
    assert "Sales own values further down 2 accounts" in words
    assert "Partner desk own value: On 2 accounts" in words


def test_the_tree_is_open_along_the_way_and_the_rest_comes_when_opened(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    html = client.get(page_of(organisation.support_unit)).content.decode()
    assert "Partner desk" not in html
    below = reverse("console:mail_advanced_below", args=[organisation.sales.pk])
    assert f'data-children="{below}"' in html
    level = client.get(below)
    assert "Partner desk" in text_of(level)
    assert b"<html" not in level.content
    assert client.post(below).status_code == 405


def test_a_level_of_the_tree_is_for_its_administrators(
    client: Client, unit_admin: User, stranger: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    root = reverse("console:mail_access_below", args=[organisation.root.pk])
    assert client.get(root).status_code == 404
    sales = reverse("console:mail_access_below", args=[organisation.sales.pk])
    assert client.get(sales).status_code == 200
    client.force_login(stranger)
    assert client.get(sales).status_code == 404


def test_the_search_opens_the_way_to_its_hits_and_says_when_there_is_none(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(organisation.root)
    found = client.get(url, {"q": "partner"}).content.decode()
    assert re.findall(r'tree-name">([^<]*)<', found) == ["yourdomain.com", "Sales", "Partner desk"]
    assert "No unit is called “Parner”" in text_of(client.get(url, {"q": "Parner"}))


def test_the_number_of_queries_does_not_grow_with_the_units(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(organisation.sales)
    create_units(organisation.sales, "Team")
    ten = count_queries(lambda: client.get(url))
    for unit in create_units(organisation.sales, "Group"):
        save_value(user=super_admin, unit=unit)
    # What rolls out stands in the top bar, which is no part of the tree.
    PolicyChange.objects.all().delete()
    assert count_queries(lambda: client.get(url)) == ten

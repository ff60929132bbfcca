import re

from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from policies.models import PolicyChange, Setting
from tests.conftest import Organisation
from tests.console.rows import count_queries, create_many_teams, create_units, save_value, text_of
from tests.policies.test_gateway_failure import choose


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
    assert "yourdomain.com own values further down: 1 3 accounts" in words
    assert "Sales own values further down: 1 2 accounts" in words
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


def rows_of(html: str) -> list[str]:
    return re.findall(r'tree-name">([^<]*)<', html)


def test_branches_open_and_close_by_links_where_there_is_no_script(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(organisation.root)
    html = client.get(url).content.decode()
    assert rows_of(html) == ["yourdomain.com", "Sales", "Support"]
    opening = f"?open={organisation.sales.pk}"
    assert f'href="{opening}" aria-label="Open Sales"' in html
    html = client.get(url + opening).content.decode()
    assert rows_of(html) == ["yourdomain.com", "Sales", "Partner desk", "Support"]
    assert 'href="?" aria-label="Close Sales"' in html
    # What is open stays so on the way to another unit.
    assert f'href="{page_of(organisation.support_unit)}{opening}"' in html


def test_an_open_branch_of_others_stays_closed(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    strange = f"?open={organisation.support_unit.pk}&open=x&open=-1&open={'9' * 40}"
    html = client.get(page_of(organisation.sales) + strange).content.decode()
    assert rows_of(html) == ["yourdomain.com", "Sales", "Partner desk"]
    assert "open=" not in html


def test_a_level_too_long_to_read_is_cut_but_not_before_the_current_unit(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    create_many_teams(organisation.sales)
    client.force_login(super_admin)
    html = client.get(page_of(organisation.sales)).content.decode()
    assert len(rows_of(html)) == 3 + 200 + 1
    assert "51 more: find them by name" in html
    last = OrgUnit.objects.get(name="Team 251")
    html = client.get(page_of(last)).content.decode()
    assert "Team 251" in rows_of(html)
    assert "50 more: find them by name" in html


def test_own_values_below_are_counted_and_listed(
    client: Client, super_admin: User, organisation: Organisation, owner: User
) -> None:
    save_value(user=super_admin, unit=organisation.partner_desk)
    for unit in create_units(organisation.partner_desk, "Team"):
        save_value(user=super_admin, unit=unit, value={"allowed": False})
    client.force_login(super_admin)
    html = client.get(page_of(organisation.sales)).content.decode()
    listed = reverse("console:overrides", args=[organisation.sales.pk])
    assert f'href="{listed}"' in html
    assert "11 units below have values of their own" in html
    words = text_of(client.get(listed))
    assert "Partner desk yourdomain.com › Sales On 1" in words
    assert "Team 9 yourdomain.com › Sales › Partner desk Off 0" in words
    beside = reverse("console:overrides", args=[organisation.support_unit.pk])
    assert "Every unit here inherits" in text_of(client.get(beside))


def test_the_list_of_own_values_costs_the_same_queries_with_more(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = reverse("console:overrides", args=[organisation.root.pk])
    for unit in create_units(organisation.sales, "Team"):
        save_value(user=super_admin, unit=unit)
    PolicyChange.objects.all().delete()
    ten = count_queries(lambda: client.get(url))
    for unit in create_units(organisation.sales, "Group"):
        save_value(user=super_admin, unit=unit)
    PolicyChange.objects.all().delete()
    assert count_queries(lambda: client.get(url)) == ten


def test_own_values_of_every_setting_are_listed(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    choose(super_admin, organisation.sales)
    client.force_login(super_admin)
    url = reverse("console:overrides", args=[organisation.root.pk])
    assert "Every unit here inherits" in text_of(client.get(url))
    listed = client.get(url, {"setting": "gateway_failure"})
    assert "Hold it and try again" in text_of(listed)
    page = reverse("console:failure", args=[organisation.sales.pk])
    assert page in listed.content.decode()
    for setting in Setting:
        assert f'href="?setting={setting}"' in listed.content.decode()
    assert client.get(url, {"setting": "colour"}).status_code == 404
    root = client.get(reverse("console:failure", args=[organisation.root.pk])).content.decode()
    assert f"{url}?setting=gateway_failure" in root

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.conftest import Organisation
from tests.console.rows import OFF, create_units, save_value, text_of

PAGES = ["console:overview", "console:mail"]


def test_the_overview_says_what_is_set_where_and_what_rolls_out(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    empty = text_of(client.get(reverse("console:overview")))
    assert "None of your units has a value of its own." in empty
    assert "Nothing is on its way" in empty
    save_value(user=super_admin, unit=organisation.root, value=OFF)
    save_value(user=super_admin, unit=organisation.partner_desk)
    words = text_of(client.get(reverse("console:overview")))
    assert "yourdomain.com Off 2" in words
    assert "Partner desk yourdomain.com › Sales On 1" in words
    assert "0 of 12 waves applied" in words


def test_the_overview_of_a_unit_administrator_ends_at_the_own_units(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    save_value(user=super_admin, unit=organisation.support_unit)
    client.force_login(unit_admin)
    words = text_of(client.get(reverse("console:overview")))
    assert "None of your units has a value of its own. Where nothing is set" in words
    assert "No change that was saved for your units is on its way." in words


def test_a_unit_administrator_reads_what_the_units_inherit(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    save_value(user=super_admin, unit=organisation.root)
    client.force_login(unit_admin)
    words = text_of(client.get(reverse("console:overview")))
    assert "None of your units has a value of its own. Sales inherits On from yourdomain" in words
    assert "gateways are off" not in words
    assert "reached every account" not in words


def test_the_overview_counts_what_it_does_not_list(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    units = create_units(organisation.sales, "Team") + create_units(organisation.sales, "Group")
    for unit in [organisation.root, *units]:
        save_value(user=super_admin, unit=unit)
    client.force_login(super_admin)
    words = text_of(client.get(reverse("console:overview")))
    assert "1 more unit has a value of its own. Every other unit inherits." in words


def test_mail_leads_to_both_pages(client: Client, super_admin: User) -> None:
    client.force_login(super_admin)
    html = client.get(reverse("console:mail")).content.decode()
    assert f'href="{reverse("console:mail_advanced")}"' in html
    assert f'href="{reverse("console:mail_access")}"' in html


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("who", ["owner", "stranger", "support"])
def test_for_people_who_administer_nothing_there_is_no_such_page(
    page: str, who: str, client: Client, request: pytest.FixtureRequest
) -> None:
    client.force_login(request.getfixturevalue(who))
    assert client.get(reverse(page)).status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_only_get_is_answered(page: str, client: Client, super_admin: User) -> None:
    client.force_login(super_admin)
    assert client.post(reverse(page)).status_code == 405


@pytest.mark.parametrize("page", PAGES)
def test_signed_out_people_are_sent_to_sign_in(page: str, client: Client, db: None) -> None:
    assert client.get(reverse(page))["Location"].startswith(reverse("account_login"))

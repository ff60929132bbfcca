"""Finding an account, and why its gateways are as they are."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import create_user, move_user
from policies.models import Setting
from policies.services import database_now, forecasts, pause
from sendas.models import SmtpMsa
from tests.conftest import Organisation
from tests.console.rows import (
    OFF,
    OTHER_SETTINGS,
    apply_waves,
    count_queries,
    save_value,
    set_guardrails,
    text_of,
)
from tests.console.test_impact import add_address
from tests.sendas.conftest import know_domain, make_pending, make_send_as

LIST = "console:accounts"


def page_of(user: User, name: str = "console:account") -> str:
    return reverse(name, args=[user.pk])


def make_accounts(unit: OrgUnit, numbers: range) -> None:
    for number in numbers:
        create_user(
            actor=SYSTEM,
            primary_address=f"person-{number:03}@yourdomain.com",
            name=f"Person {number}",
            unit=unit,
        )


@pytest.fixture
def late(owner: User) -> User:
    """The owner, whose cohort is the last."""
    User.objects.filter(pk=owner.pk).update(cohort=12)
    owner.refresh_from_db()
    return owner


def test_an_account_is_found_by_the_beginning_of_its_address(
    client: Client, super_admin: User, owner: User, colleague: User
) -> None:
    client.force_login(super_admin)
    html = client.get(reverse(LIST), {"q": "US"}).content.decode()
    assert page_of(owner) in html
    assert page_of(colleague) not in html
    assert client.get(reverse(LIST), {"q": owner.primary_address}).url == page_of(owner)
    words = text_of(client.get(reverse(LIST), {"q": "nobody"}))
    assert "No address begins with “nobody”" in words


def test_the_list_goes_on_where_the_page_before_ended(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    make_accounts(organisation.sales, range(120))
    client.force_login(super_admin)
    url, seen = f"{reverse(LIST)}?q=person-", []
    for _page in range(3):
        response = client.get(url)
        seen += re.findall(r"person-\d{3}(?=@yourdomain.com</a>)", response.content.decode())
        found = re.search(r'rel="next" href="([^"]+)"', response.content.decode())
        url = found[1].replace("&amp;", "&") if found else ""
    assert seen == [f"person-{number:03}" for number in range(120)]
    assert not url


def test_a_unit_shows_its_accounts_and_those_below(
    client: Client, super_admin: User, owner: User, stranger: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    html = client.get(reverse(LIST), {"unit": organisation.sales.pk}).content.decode()
    assert page_of(owner) in html
    assert page_of(stranger) not in html
    for unit in ("word", "9" * 30, "0"):
        assert page_of(stranger) in client.get(reverse(LIST), {"unit": unit}).content.decode()


def test_a_unit_administrator_finds_only_accounts_of_own_units(
    client: Client, unit_admin: User, owner: User, stranger: User
) -> None:
    client.force_login(unit_admin)
    html = client.get(reverse(LIST)).content.decode()
    assert page_of(owner) in html
    assert page_of(stranger) not in html
    assert client.get(reverse(LIST), {"q": stranger.primary_address}).status_code == 200
    assert client.get(page_of(owner)).status_code == 200
    for name in ("console:account", "console:account_now"):
        assert client.get(page_of(stranger, name)).status_code == 404


@pytest.mark.parametrize("who", ["owner", "stranger", "support"])
def test_for_people_who_administer_nothing_there_is_no_such_page(
    who: str, client: Client, owner: User, request: pytest.FixtureRequest
) -> None:
    client.force_login(request.getfixturevalue(who))
    urls = [reverse(LIST), page_of(owner), page_of(owner, "console:account_now")]
    assert [client.get(url).status_code for url in urls] == [404, 404, 404]


def test_the_page_says_why_not_yet_and_when(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    words = text_of(client.get(page_of(late)))
    assert "It may not use own servers, and nothing is on its way that changes this" in words
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 4)
    words = text_of(client.get(page_of(late)))
    assert "Not yet: it may use own servers by" in words
    assert f"{change.pk} admin@yourdomain.com" in words
    assert "Cohort 12 of 12" in words
    assert "Sales Saved On version 1 Has reached this account not yet" in words
    assert "by default: no unit’s value has reached this account" in words
    assert "On by" in text_of(client.get(reverse(LIST), {"q": "user"}))
    pause(actor=Actor(super_admin), change=change, based_on=0)
    words = text_of(client.get(page_of(late)))
    assert "Not yet: the change that allows it is paused" in words
    assert "On, paused" in text_of(client.get(reverse(LIST), {"q": "user"}))


def test_the_page_says_who_decides_once_it_has_arrived(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    client.force_login(super_admin)
    response = client.get(page_of(late))
    words = text_of(response)
    assert "It may use own servers" in words
    assert "decided for Sales, version 1" in words
    assert (
        "Sales Saved On version 1 Has reached this account On version 1 Decides This one" in words
    )
    assert b"every 5s" not in response.content
    part = client.get(page_of(late), headers={"HX-Request": "true"})
    assert b"<html" not in part.content


def test_the_page_says_which_unit_turned_it_off_and_by_which_change(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    on = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(on, 13)
    off = save_value(user=super_admin, unit=late.unit, value=OFF)
    apply_waves(off, 13)
    html = client.get(page_of(late)).content.decode()
    unit = late.unit.name
    told = f"Own servers are off for {unit}, and nothing is on its way that changes this"
    assert told in text_of(client.get(page_of(late)))
    for change in (on, off):
        assert html.count(reverse("console:rollout", args=[change.pk])) == 2


def test_a_unit_administrator_is_led_to_no_unit_and_no_change_above(
    client: Client, super_admin: User, unit_admin: User, late: User, organisation: Organisation
) -> None:
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    coming = save_value(user=super_admin, unit=organisation.root, value=OFF, based_on=1)
    client.force_login(unit_admin)
    for url in (page_of(late), page_of(late, "console:account_now")):
        html = client.get(url).content.decode()
        assert f"{coming.pk}<br>" in html
        links = set(re.findall(r'href="(/console/(?:rollouts|apps/mail/advanced)/\d+/)"', html))
        assert {client.get(link).status_code for link in links} <= {200}


def test_the_headline_says_which_own_servers_guardrails_keep_unused(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    forbidden = add_address(owner, "own@partnerdomain.com")
    rails = {"servers": {"allowed": [], "denied": ["smtp.partnerdomain.com"]}}
    set_guardrails(super_admin, organisation.sales, rails)
    words = text_of(client.get(page_of(owner)))
    assert "It may not use own servers, and nothing is on its way that changes this On its" in words
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    words = text_of(client.get(page_of(owner)))
    told = (
        "It may use own servers, but none of those that it has own@partnerdomain.com · The address"
    )
    assert f"{told} has its own server, but the guardrail “Servers” for Sales does not let" in words
    add_address(owner, "other@elsewhere.example")
    SmtpMsa.objects.exclude(send_as=forbidden).update(host="smtp.elsewhere.example")
    words = text_of(client.get(page_of(owner)))
    assert "It may use own servers, but not all that it has own@partnerdomain.com ·" in words
    SmtpMsa.objects.update(host="smtp.elsewhere.example")
    assert "It may use own servers On its way" in text_of(client.get(page_of(owner)))


def test_applied_now_the_account_has_everything_and_the_page_says_so_before(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 1)
    client.force_login(super_admin)
    assert page_of(late, "console:account_now") in client.get(page_of(late)).content.decode()
    words = text_of(client.get(page_of(late, "console:account_now")))
    assert "The account takes everything on its way to it, not one change alone" in words
    data = {"unit_id": late.unit_id, "reason": "It asked"}
    answer = client.post(page_of(late, "console:account_now"), data, follow=True)
    words = text_of(answer)
    assert "user@yourdomain.com has everything that was on its way to it." in words
    assert "It may use own servers" in words
    assert "Express, until nothing is on its way to cohort 12" in words
    assert client.post(page_of(late, "console:account_now"), data).status_code == 409
    assert "There is nothing to apply" in text_of(client.get(page_of(late, "console:account_now")))


@pytest.mark.parametrize(("setting", "value", "told"), OTHER_SETTINGS)
def test_a_change_of_any_other_setting_is_told_and_taken(
    setting: Setting,
    value: Any,
    told: str,
    client: Client,
    super_admin: User,
    late: User,
    organisation: Organisation,
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.sales, setting=setting, value=value)
    apply_waves(change, 1)
    response = client.get(page_of(late))
    words = unescape(text_of(response))
    assert "Nothing: it has every change of its units." not in words
    assert b"every 5s" in response.content
    row = rf"Sets [^|]*{told} {setting.label} Reaches it [^|]+ Holds then [^|]*{told}"
    assert re.search(row, words)
    assert re.search(rf"On its way {told} by [^|]*\d\d:\d\d", words)
    assert "It may not use own servers, and nothing is on its way that changes this" in words
    assert "Other changes" in text_of(client.get(reverse(LIST), {"q": "user"}))
    dialog = page_of(late, "console:account_now")
    assert dialog in response.content.decode()
    assert re.search(row, unescape(text_of(client.get(dialog))))
    pause(actor=Actor(super_admin), change=change, based_on=0)
    words = unescape(text_of(client.get(page_of(late))))
    assert "Next wave Not before its change is resumed" in words
    assert f"On its way {told} Paused" in words
    answer = client.post(dialog, {"unit_id": late.unit_id}, follow=True)
    words = unescape(text_of(answer))
    assert "has everything that was on its way to it." in words
    assert f"Value {told} Decided for Sales version 1 On its way No change" in words
    assert "Nothing: it has every change of its units." in words


def test_what_is_only_scheduled_is_told_but_not_taken(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    setting, value, told = OTHER_SETTINGS[0]
    tomorrow = database_now() + timedelta(days=1)
    by = {"user": super_admin, "unit": organisation.sales}
    later = save_value(**by, setting=setting, value=value, starts_at=tomorrow)
    response = client.get(page_of(late))
    assert f"On its way {told} scheduled, by" in text_of(response)
    assert page_of(late, "console:account_now") not in response.content.decode()
    now = save_value(**by)
    apply_waves(now, 1)
    html = client.get(page_of(late, "console:account_now")).content.decode()
    assert reverse("console:rollout", args=[now.pk]) in html
    assert reverse("console:rollout", args=[later.pk]) not in html
    client.post(page_of(late, "console:account_now"), {"unit_id": late.unit_id})
    late.refresh_from_db()
    assert [step.change for step in forecasts(late).steps] == [later]


def test_an_account_that_was_moved_meanwhile_is_left_alone(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    save_value(user=super_admin, unit=organisation.root)
    client.force_login(super_admin)
    seen = late.unit_id
    move_user(actor=SYSTEM, user=late, unit=organisation.support_unit)
    url = page_of(late, "console:account_now")
    answer = client.post(url, {"unit_id": seen, "reason": "Typed"})
    assert answer.status_code == 409
    assert "was moved to Support meanwhile" in text_of(answer)
    assert 'value="Typed"' in answer.content.decode()
    for unit_id in ("", "word", "9" * 40):
        assert client.post(url, {"unit_id": unit_id}).status_code in {200, 409}
    late.refresh_from_db()
    assert late.cohort == 12


def test_the_number_of_queries_does_not_grow_with_accounts_or_changes(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    urls = [reverse(LIST), page_of(late), page_of(late, "console:account_now")]

    def counts() -> list[int]:
        return [count_queries(lambda url=url: client.get(url)) for url in urls]

    make_accounts(organisation.sales, range(10))
    save_value(user=super_admin, unit=organisation.sales)
    ten = counts()
    make_accounts(organisation.partner_desk, range(10, 20))
    save_value(user=super_admin, unit=organisation.root, value=OFF)
    save_value(user=super_admin, unit=organisation.partner_desk)
    for setting, value, _told in OTHER_SETTINGS:
        save_value(user=super_admin, unit=organisation.sales, setting=setting, value=value)
    assert counts() == ten


def test_nothing_on_the_pages_needs_an_exception_from_the_policy(
    client: Client, super_admin: User, late: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.sales)
    for url in (reverse(LIST), page_of(late), page_of(late, "console:account_now")):
        html = client.get(url).content.decode()
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src=)", html)


def test_whether_receivers_will_take_the_mail_of_its_outside_addresses(
    client: Client, unit_admin: User, owner: User
) -> None:
    client.force_login(unit_admin)
    assert "Outside addresses" not in text_of(client.get(page_of(owner)))
    make_send_as(owner)
    make_pending(owner, address="waiting@mild.example")
    know_domain(policy="reject")
    know_domain("mild.example", policy="none")
    words = text_of(client.get(page_of(owner)))
    assert "user.name@partnerdomain.com by our servers" in words
    assert "partnerdomain.com has its mail checked strictly" in words
    assert "partnerdomain.com tells receivers to reject mail" in words
    assert "waiting@mild.example Waiting for proof" in words
    assert "mild.example does not ask receivers to refuse anything" in words


def test_ten_or_twenty_outside_addresses_cost_the_same_queries(
    client: Client, super_admin: User, owner: User
) -> None:
    client.force_login(super_admin)
    counts = []
    for numbers in (range(10), range(10, 20)):
        for number in numbers:
            make_send_as(owner, address=f"a@d{number}.example")
            know_domain(f"d{number}.example", policy="none")
        counts.append(count_queries(lambda: client.get(page_of(owner))))
    assert counts[0] == counts[1]

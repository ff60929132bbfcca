import re

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from accounts.models.people import EXPRESS_COHORT
from policies.models import PolicyChange
from tests.conftest import Organisation
from tests.console.rows import (
    OFF,
    apply_waves,
    count_queries,
    create_many_teams,
    create_units,
    save_value,
    text_of,
)

LIVE = {"HX-Request": "true"}


def page_of(change: PolicyChange) -> str:
    return reverse("console:rollout", args=[change.pk])


def test_the_list_shows_every_change_with_unit_value_author_and_progress(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    save_value(user=super_admin, unit=organisation.root, value=OFF)
    change = save_value(user=unit_admin, unit=organisation.sales, reason="The partner asks")
    apply_waves(change, 4)
    client.force_login(super_admin)
    words = text_of(client.get(reverse("console:rollouts")))
    assert "yourdomain.com › Sales The partner asks" in words
    assert "Inherited → becomes On" in words
    assert "Emre Aydin" in words
    assert "3 of 12 waves applied" in words
    assert words.index("› Sales") < words.index("Off → becomes Off")


def test_the_list_is_paginated_newest_first(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    first = save_value(user=super_admin, unit=organisation.sales)
    for version in range(1, 27):
        value = OFF if version % 2 else {"allowed": True}
        last = save_value(user=super_admin, unit=organisation.sales, value=value, based_on=version)
    client.force_login(super_admin)
    url = reverse("console:rollouts")
    page_one, page_two = client.get(url), client.get(url, {"page": "2"})
    assert page_of(last) in page_one.content.decode()
    assert page_of(first) not in page_one.content.decode()
    assert page_of(first) in page_two.content.decode()
    assert "Page 2 of 2" in text_of(page_two)


def test_without_a_change_the_list_says_what_will_stand_here(
    client: Client, super_admin: User
) -> None:
    client.force_login(super_admin)
    assert "No rollout for your units yet" in text_of(client.get(reverse("console:rollouts")))


def test_a_unit_administrator_sees_the_changes_of_own_units_only(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    above = save_value(user=super_admin, unit=organisation.root)
    beside = save_value(user=super_admin, unit=organisation.support_unit)
    below = save_value(user=super_admin, unit=organisation.partner_desk)
    client.force_login(unit_admin)
    html = client.get(reverse("console:rollouts")).content.decode()
    assert page_of(below) in html
    assert client.get(page_of(below)).status_code == 200
    for change in (above, beside):
        assert page_of(change) not in html
        assert client.get(page_of(change)).status_code == 404
        assert client.get(page_of(change), headers=LIVE).status_code == 404


@pytest.mark.parametrize("who", ["owner", "stranger", "support"])
def test_for_people_who_administer_nothing_there_is_no_such_page(
    who: str,
    client: Client,
    super_admin: User,
    organisation: Organisation,
    request: pytest.FixtureRequest,
) -> None:
    change = save_value(user=super_admin, unit=organisation.sales)
    client.force_login(request.getfixturevalue(who))
    urls = [reverse("console:rollouts"), reverse("console:rollout_running"), page_of(change)]
    assert [client.get(url).status_code for url in urls] == [404, 404, 404]


def test_pages_of_rollouts_only_answer_get(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    change = save_value(user=super_admin, unit=organisation.sales)
    client.force_login(super_admin)
    urls = [reverse("console:rollouts"), reverse("console:rollout_running"), page_of(change)]
    assert [client.post(url).status_code for url in urls] == [405, 405, 405]


def test_the_page_tells_who_has_it_from_what_is_applied(
    client: Client,
    super_admin: User,
    owner: User,
    colleague: User,
    organisation: Organisation,
) -> None:
    User.objects.filter(pk=owner.pk).update(cohort=2)
    User.objects.filter(pk=colleague.pk).update(cohort=9)
    change = save_value(user=super_admin, unit=organisation.partner_desk, reason="It asks")
    apply_waves(change, 3)
    client.force_login(super_admin)
    response = client.get(page_of(change))
    words = text_of(response)
    assert "Per-user outbound gateways on for Partner desk" in words
    assert "1 of 2 accounts have it" in words
    assert "Partner desk 2 1 1" in words
    assert "Mina Kato saved change" in words
    assert 'aria-valuenow="2"' in response.content.decode()
    states = re.findall(r'class="wave wave-(\w+)"', response.content.decode())
    assert states == ["applied"] * 2 + ["next"] + ["planned"] * 9


def test_an_account_in_the_express_cohort_travels_with_the_first_wave(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    User.objects.filter(pk=owner.pk).update(cohort=EXPRESS_COHORT)
    change = save_value(user=super_admin, unit=organisation.partner_desk)
    apply_waves(change, 1)
    client.force_login(super_admin)
    assert "1 of 1 account has it" in text_of(client.get(page_of(change)))


def test_units_with_a_value_of_their_own_are_no_part_of_the_rollout(
    client: Client, super_admin: User, owner: User, stranger: User, organisation: Organisation
) -> None:
    save_value(user=super_admin, unit=organisation.partner_desk, value=OFF)
    change = save_value(user=super_admin, unit=organisation.root)
    apply_waves(change, 13)
    client.force_login(super_admin)
    words = text_of(client.get(page_of(change)))
    assert "2 of 2 accounts have it" in words
    change = save_value(user=super_admin, unit=organisation.sales)
    words = text_of(client.get(page_of(change)))
    assert "Partner desk 1 Own value, Off · not part of this rollout" in words


def test_of_units_too_many_to_read_the_number_is_told(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    create_many_teams(organisation.sales)
    change = save_value(user=super_admin, unit=organisation.sales)
    client.force_login(super_admin)
    words = text_of(client.get(page_of(change)))
    assert "Team 200 0" in words
    assert "Team 201" not in words
    assert "51 more units" in words


def test_while_it_rolls_out_the_page_asks_again_and_then_no_more(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    change = save_value(user=super_admin, unit=organisation.sales)
    client.force_login(super_admin)
    part = client.get(f"{page_of(change)}?seen=rolling-0", headers=LIVE)
    assert b"every 2s" in part.content
    assert b"<html" not in part.content
    assert b"announcement" not in part.content
    apply_waves(change, 13)
    part = client.get(f"{page_of(change)}?seen=rolling-0", headers=LIVE)
    assert b"every 2s" not in part.content
    assert "12 of 12 waves applied" in text_of(part)
    assert "Complete" in text_of(part)


def test_with_the_worker_gone_it_stands_still_and_says_how_late_it_is(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 3)
    seconds = change.waves.model.objects.filter(pk__in=change.waves.values("pk"))
    seconds.update(due_at=F("due_at") - (change.complete_by - change.starts_at))
    client.force_login(super_admin)
    response = client.get(page_of(change))
    assert 'aria-valuenow="2"' in response.content.decode()
    assert re.search(r"next \d+.min late", text_of(response))


def test_a_replaced_change_names_the_one_that_follows_and_shows_what_came(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    first = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(first, 3)
    second = save_value(user=super_admin, unit=organisation.sales, value=None, based_on=1)
    apply_waves(second, 13)
    client.force_login(super_admin)
    response = client.get(page_of(first))
    words = text_of(response)
    assert "2 of 12 waves applied" in words
    assert f"Change {second.pk} of" in words
    assert "The remaining waves of this change never come." in words
    # Two of twelve look like two of twelve.
    html = response.content.decode()
    assert html.count('class="wave wave-applied"') == 2
    assert html.count('class="wave wave-dropped"') == 10
    assert "every 2s" not in response.content.decode().split('id="rollout"')[1]
    assert "inherited by Sales" in text_of(client.get(page_of(second)))


def test_a_change_outlives_its_unit_and_its_author(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    change = save_value(user=unit_admin, unit=organisation.partner_desk)
    unit_admin.delete()
    OrgUnit.objects.filter(pk=organisation.partner_desk.pk).delete()
    client.force_login(super_admin)
    words = text_of(client.get(page_of(change)))
    assert "sales-admin@yourdomain.com" in words
    assert "on for yourdomain.com › Sales › Partner desk" in words
    assert "This unit no longer exists." in words
    assert client.get(reverse("console:rollouts")).status_code == 200


def test_the_top_bar_names_the_newest_rollout_until_it_is_complete(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 6)
    client.force_login(super_admin)
    running = reverse("console:rollout_running")
    assert text_of(client.get(running)) == f"Rollout {change.pk}: 5 of 12 waves"
    assert f"Rollout {change.pk}: 5 of 12 waves" in text_of(client.get(reverse("console:mail")))
    for wave in change.waves.open():
        wave.delete()
    assert text_of(client.get(running)) == ""


def test_the_number_of_queries_does_not_grow_with_changes_or_units(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.root)
    urls = [reverse("console:rollouts"), reverse("console:overview"), page_of(change)]

    def counts() -> list[int]:
        return [count_queries(lambda url=url: client.get(url)) for url in urls]

    for unit in create_units(organisation.sales, "Team"):
        save_value(user=super_admin, unit=unit)
    ten = counts()
    for unit in create_units(organisation.sales, "Group"):
        save_value(user=super_admin, unit=unit)
    assert counts() == ten


def test_nothing_on_the_pages_needs_an_exception_from_the_policy(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.sales)
    for url in (reverse("console:rollouts"), reverse("console:overview"), page_of(change)):
        html = client.get(url).content.decode()
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src=)", html)

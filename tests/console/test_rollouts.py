import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import OrgUnit, User
from accounts.models.people import EXPRESS_COHORT
from accounts.services.audit import SYSTEM, Actor
from accounts.services.directory import create_unit
from console.rollout import load_rollouts
from console.rollout_forms import STATES
from policies.models import PolicyChange, Setting
from policies.services import cancel, pause, start_due_changes, undo
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
from tests.policies.test_gateway_failure import HOLD

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


def numbers_in(html: str) -> list[int]:
    """Of the changes in the list, as they stand there."""
    found = re.findall(r'class="link" href="/console/rollouts/(\d+)/"', html)
    return [int(number) for number in found]


def listed(client: Client, **query: str) -> set[int]:
    return set(numbers_in(client.get(reverse("console:rollouts"), query).content.decode()))


def test_pages_follow_each_other_newest_first_and_keep_the_filter(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    saved = []
    for version in range(60):
        value = {"allowed": version % 2 == 0}
        saved.append(
            save_value(user=super_admin, unit=organisation.sales, value=value, based_on=version).pk
        )
    save_value(user=super_admin, unit=organisation.support_unit)
    client.force_login(super_admin)
    seen: list[int] = []
    url, page = reverse("console:rollouts"), "?unit=Sales"
    while page:
        html = client.get(url + page).content.decode()
        seen += numbers_in(html)
        older = re.search(r'rel="next" href="([^"]+)"', html)
        page = older[1].replace("&amp;", "&") if older else ""
        # What is saved meanwhile does not move the pages that follow.
        team = create_unit(actor=SYSTEM, name=f"Team {len(seen)}", parent=organisation.sales)
        save_value(user=super_admin, unit=team)
    assert seen == saved[::-1]


@pytest.fixture
def changes(
    super_admin: User, unit_admin: User, organisation: Organisation
) -> dict[str, PolicyChange]:
    """One in each state, by different people, for different units and settings."""
    sales, support = organisation.sales, organisation.support_unit
    replaced = save_value(user=super_admin, unit=sales)
    complete = save_value(user=unit_admin, unit=sales, value=OFF, based_on=1)
    apply_waves(complete, 13)
    undone = save_value(user=super_admin, unit=support)
    apply_waves(undone, 3)
    undo(change=undone, actor=Actor(super_admin), based_on=0)
    failure, later = Setting.GATEWAY_FAILURE, timezone.now() + timedelta(days=2)
    paused = save_value(
        user=unit_admin, unit=organisation.partner_desk, setting=failure, value=HOLD
    )
    apply_waves(paused, 2)
    pause(change=paused, actor=Actor(unit_admin), based_on=0)
    rolling = save_value(user=super_admin, unit=organisation.root, setting=failure, value=HOLD)
    apply_waves(rolling, 2)
    guardrails, servers = Setting.GATEWAY_GUARDRAILS, {"servers": {"allowed": [], "denied": ["x"]}}
    scheduled = save_value(
        user=super_admin, unit=support, setting=guardrails, value=servers, starts_at=later
    )
    cancelled = save_value(
        user=super_admin, unit=sales, setting=guardrails, value=servers, starts_at=later
    )
    cancel(change=cancelled, actor=Actor(super_admin), based_on=0)
    return {
        "replaced": replaced,
        "complete": complete,
        "undone": undone,
        "rolling": rolling,
        "paused": paused,
        "scheduled": scheduled,
        "cancelled": cancelled,
    }


def test_each_state_lists_the_changes_that_the_list_names_so(
    client: Client, super_admin: User, changes: dict[str, PolicyChange]
) -> None:
    client.force_login(super_admin)
    assert {state for state, _words in STATES} == set(changes)
    rollouts = load_rollouts(PolicyChange.objects.all())
    states = {rollout.change.pk: rollout.state for rollout in rollouts}
    assert {states[change.pk] for change in changes.values()} == set(changes)
    for state in changes:
        named = {number for number, name in states.items() if name == state}
        assert listed(client, state=state) == named, state


def test_a_change_whose_unit_was_deleted_keeps_its_waves_and_is_listed_as_it_is_named(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    unit = organisation.partner_desk
    complete = save_value(user=super_admin, unit=unit)
    apply_waves(complete, 13)
    rolling = save_value(user=super_admin, unit=unit, setting=Setting.GATEWAY_FAILURE, value=HOLD)
    apply_waves(rolling, 4)
    OrgUnit.objects.filter(pk=unit.pk).delete()
    client.force_login(super_admin)
    for change, state, waves in ((complete, "complete", 12), (rolling, "rolling", 3)):
        [rollout] = load_rollouts([change])
        assert (rollout.state, rollout.waves_applied) == (state, waves)
        assert listed(client, state=state) == {change.pk}
    page = client.get(reverse("console:rollouts"), {"state": "complete"})
    assert "12 of 12 waves applied" in text_of(page)


def test_a_paused_change_is_paused_also_where_a_newer_one_brought_its_value_to_all(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    unit, by = organisation.sales, Actor(super_admin)
    soon = timezone.now() + timedelta(hours=1)
    newer = save_value(user=super_admin, unit=unit, starts_at=soon)
    older = save_value(user=super_admin, unit=unit)
    apply_waves(older, 4)
    pause(change=older, actor=by, based_on=0)
    PolicyChange.objects.filter(pk=newer.pk).update(starts_at=timezone.now())
    assert start_due_changes(unit.pk) == 1
    newer.refresh_from_db()
    apply_waves(newer, 13)
    client.force_login(super_admin)
    assert {each.state for each in load_rollouts([older])} == {"paused"}
    assert listed(client, state="paused") == {older.pk}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"unit": "sales"}, {"replaced", "complete", "paused", "cancelled"}),
        ({"unit": "Partner desk"}, {"paused"}),
        ({"setting": "gateway_guardrails"}, {"scheduled", "cancelled"}),
        ({"author": "emre"}, {"complete", "paused"}),
        ({"author": "SALES-admin@"}, {"complete", "paused"}),
        ({"author": "nobody"}, set()),
        ({"unit": "Sales", "setting": "gateway_guardrails", "state": "cancelled"}, {"cancelled"}),
        ({"unit": "Sales", "state": "scheduled"}, set()),
    ],
)
def test_the_filters_leave_out_what_does_not_fit(
    client: Client, super_admin: User, changes: dict[str, PolicyChange],
    query: dict[str, str], expected: set[str],
) -> None:  # fmt: skip
    client.force_login(super_admin)
    assert listed(client, **query) == {changes[state].pk for state in expected}
    words = text_of(client.get(reverse("console:rollouts"), query))
    assert ("No change fits" in words) == (not expected)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"unit": "Nowhere"}, "No unit is called “Nowhere”."),
        ({"state": "nothing"}, "Select a valid choice"),
        ({"setting": "nothing"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_looked_up_is_told_and_kept(
    client: Client, super_admin: User, changes: dict[str, PolicyChange],
    query: dict[str, str], told: str,
) -> None:  # fmt: skip
    client.force_login(super_admin)
    response = client.get(reverse("console:rollouts"), {**query, "author": "emre"})
    assert told in text_of(response)
    assert 'value="emre"' in response.content.decode()
    assert not listed(client, **query)


def test_units_that_one_does_not_administer_are_no_choice_of_the_filter(
    client: Client, unit_admin: User, changes: dict[str, PolicyChange]
) -> None:
    client.force_login(unit_admin)
    assert listed(client) == listed(client, unit="Sales")
    response = client.get(reverse("console:rollouts"), {"unit": "Support"})
    assert "No unit is called “Support”." in text_of(response)


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
    filtered = "?unit=Sales&setting=per_user_outbound_gateway&state=rolling&author=a"
    urls = [
        reverse("console:rollouts"),
        reverse("console:rollouts") + filtered,
        reverse("console:overview"),
        page_of(change),
    ]

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

"""The buttons of a change: each asks first, says what it does, and is refused in plain words."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import OrgUnit, RoleAssignment, User
from accounts.services.audit import Actor
from policies.models import PolicyChange, Setting
from policies.services import pause
from tests.conftest import Organisation
from tests.console.rows import (
    OFF,
    OTHER_SETTINGS,
    apply_waves,
    count_queries,
    save_value,
    text_of,
)
from tests.console.test_impact import add_address

SLUGS = ["pause", "resume", "apply-now", "undo", "reschedule", "cancel"]


def page_of(change: PolicyChange, slug: str) -> str:
    return reverse("console:rollout_action", args=[change.pk, slug])


def post(client: Client, change: PolicyChange, slug: str, **fields: Any) -> HttpResponse:
    return client.post(page_of(change, slug), {"based_on": "0", "reason": "", **fields})


def offered(client: Client, change: PolicyChange) -> list[str]:
    html = client.get(reverse("console:rollout", args=[change.pk])).content.decode()
    return re.findall(rf'href="/console/rollouts/{change.pk}/([a-z-]+)/"', html)


def in_minutes(minutes: int) -> str:
    return f"{timezone.now() + timedelta(minutes=minutes):%Y-%m-%dT%H:%M}"


@pytest.fixture
def change(client: Client, super_admin: User, owner: User, organisation: Organisation):
    User.objects.filter(pk=owner.pk).update(cohort=1)
    change = save_value(user=super_admin, unit=organisation.sales, reason="The partner asks")
    client.force_login(super_admin)
    return change


def scheduled(client: Client, organisation: Organisation) -> PolicyChange:
    url = reverse("console:mail_advanced", args=[organisation.support_unit.pk])
    data = {"choice": "override", "allowed": "on", "based_on": "0", "starts_at": in_minutes(90)}
    assert client.post(url, data).status_code == 302
    return PolicyChange.objects.latest("id")


def test_a_change_is_paused_resumed_and_undone_and_the_page_follows(
    client: Client, change: PolicyChange, super_admin: User
) -> None:
    apply_waves(change, 4)
    assert offered(client, change) == ["pause", "apply-now", "undo"]
    question = text_of(client.get(page_of(change, "pause")))
    assert f"Pause change {change.pk}?" in question
    assert "1 account has it and keeps it." in question
    answer = client.post(page_of(change, "pause"), {"based_on": "0", "reason": "Wait"}, follow=True)
    assert f"Change {change.pk} is paused." in text_of(answer)
    assert "Mina Kato paused it: Wait" in text_of(answer)
    assert offered(client, change) == ["resume", "apply-now", "undo"]
    assert "Everybody has it by" in text_of(client.get(page_of(change, "resume")))
    post(client, change, "resume", based_on="1")
    question = text_of(client.get(page_of(change, "undo")))
    assert "1 account loses it at once. The others never get it." in question
    assert "inherits again. No unit above sets it, so by default: Off." in question
    answer = client.post(page_of(change, "undo"), {"based_on": "2", "reason": ""}, follow=True)
    undo = PolicyChange.objects.get(undoes=change)
    assert f"It undoes change {change.pk}" in text_of(answer)
    assert offered(client, change) == []
    assert offered(client, undo) == ["pause", "apply-now"]
    words = text_of(client.get(reverse("console:rollout", args=[change.pk])))
    assert f"by change {undo.pk}" in words
    assert "Undone" in text_of(client.get(reverse("console:rollouts")))


def test_apply_now_and_undo_tell_whose_mail_goes_another_way(
    client: Client, change: PolicyChange, owner: User, colleague: User
) -> None:
    User.objects.filter(pk=colleague.pk).update(cohort=12)
    for user in (owner, colleague):
        add_address(user, f"own-{user.cohort}@partnerdomain.com")
        add_address(user, f"plain-{user.cohort}@partnerdomain.com", gateway=False)
    question = text_of(client.get(page_of(change, "apply-now")))
    assert "2 addresses change route: their own servers are set up" in question
    question = text_of(client.get(page_of(change, "undo")))
    assert "The mail of no outside address changes its route." in question
    apply_waves(change, 4)
    question = text_of(client.get(page_of(change, "apply-now")))
    assert "1 address changes route: its own server is set up" in question
    assert "keeps saying" not in question
    question = text_of(client.get(page_of(change, "undo")))
    assert "1 address changes route; recipients may then see “on behalf of”." in question
    pause_question = text_of(client.get(page_of(change, "pause")))
    assert "changes route" not in pause_question


@pytest.mark.parametrize(
    ("setting", "value", "applied", "undone"),
    [
        (
            Setting.GATEWAY_FAILURE,
            {"choice": "hold"},
            "1 address’s mail then waits instead of being refused",
            "1 address’s mail is then refused instead of waiting",
        ),
        (
            Setting.GATEWAY_GUARDRAILS,
            {"servers": {"allowed": ["x.example"], "denied": []}},
            "1 address has an own server that is then not allowed any more",
            "1 address has an own server that is then allowed again",
        ),
        (
            Setting.OUTBOUND_GATEWAY,
            OTHER_SETTINGS[1][1],
            "1 outside address changes route: its mail leaves by the other outbound gateway",
            "1 outside address changes route: its mail leaves by the other outbound gateway",
        ),
    ],
)
def test_so_do_those_of_the_other_settings(
    client: Client, change: PolicyChange, super_admin: User, owner: User, colleague: User,
    setting: Setting, value: dict[str, Any], applied: str, undone: str,
) -> None:  # fmt: skip
    apply_waves(change, 13)
    add_address(owner, "broken@partnerdomain.com", works=False)
    add_address(colleague, "plain@partnerdomain.com", gateway=False)
    unit = OrgUnit.objects.get(pk=change.unit_id)
    other = save_value(user=super_admin, unit=unit, setting=setting, value=value)
    assert applied in text_of(client.get(page_of(other, "apply-now")))
    apply_waves(other, 13)
    assert undone in text_of(client.get(page_of(other, "undo")))


def test_what_a_question_counts_costs_the_same_for_more_addresses(
    client: Client, change: PolicyChange, owner: User
) -> None:
    def counts() -> list[int]:
        return [
            count_queries(lambda slug=slug: client.get(page_of(change, slug)))
            for slug in ("apply-now", "undo")
        ]

    add_address(owner, "first@partnerdomain.com")
    before = counts()
    for number in range(10):
        add_address(owner, f"more-{number}@partnerdomain.com")
    assert counts() == before


def test_a_complete_change_is_undone_at_once_and_the_page_says_what_is_gradual(
    client: Client, change: PolicyChange
) -> None:
    apply_waves(change, 13)
    assert offered(client, change) == ["undo"]
    words = text_of(client.get(page_of(change, "undo")))
    assert "To go back little by little, set the old value on the settings page" in words


def test_a_scheduled_change_shows_its_time_and_is_moved_started_or_cancelled(
    client: Client, change: PolicyChange, organisation: Organisation
) -> None:
    later = scheduled(client, organisation)
    unit_page = reverse("console:mail_advanced", args=[organisation.support_unit.pk])
    assert f"Change {later.pk} is scheduled for" in text_of(client.get(unit_page))
    saved = text_of(client.get(f"{unit_page}?saved={later.pk}"))
    assert "Not started; it starts at" in saved
    words = text_of(client.get(reverse("console:rollout", args=[later.pk])))
    assert "It starts by itself at" in words
    assert offered(client, later) == ["apply-now", "reschedule", "cancel"]
    html = client.get(page_of(later, "reschedule")).content.decode()
    assert f'value="{later.starts_at:%Y-%m-%dT%H:%M}"' in html
    moved = in_minutes(200)
    assert post(client, later, "reschedule", starts_at=moved).status_code == 302
    later.refresh_from_db()
    assert f"{later.starts_at:%Y-%m-%dT%H:%M}" == moved
    post(client, later, "cancel", based_on="1", reason="Not yet")
    words = text_of(client.get(reverse("console:rollout", args=[later.pk])))
    assert "before it started" in words
    assert offered(client, later) == []


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (in_minutes(-30), "That time has passed: it is"),
        ("2199-01-01T00:00", "more than a year away"),
        ("tomorrow", "Write a date and a time"),
        ("0001-01-01T00:00", "That time has passed: it is"),
    ],
)
def test_a_time_that_cannot_be_is_refused_and_stays_as_typed(
    client: Client, change: PolicyChange, organisation: Organisation, typed: str, words: str
) -> None:
    url = reverse("console:mail_advanced", args=[organisation.support_unit.pk])
    data = {"choice": "override", "allowed": "on", "based_on": "0", "starts_at": typed}
    answer = client.post(url, {**data, "reason": "Typed"})
    assert words in text_of(answer)
    assert 'value="Typed"' in answer.content.decode()
    assert PolicyChange.objects.count() == 1
    later = scheduled(client, organisation)
    answer = post(client, later, "reschedule", starts_at=typed, reason="Typed")
    assert words in text_of(answer)
    assert 'value="Typed"' in answer.content.decode()


def test_the_second_of_two_administrators_hears_who_was_first(
    client: Client, change: PolicyChange, unit_admin: User
) -> None:
    pause(actor=Actor(unit_admin), change=change, based_on=0)
    answer = post(client, change, "undo", reason="Typed before")
    assert answer.status_code == 409
    assert "sales-admin@yourdomain.com paused it at" in text_of(answer)
    assert 'value="Typed before"' in answer.content.decode()
    assert 'name="based_on" value="1"' in answer.content.decode()
    assert post(client, change, "undo", based_on="1").status_code == 302


def test_resuming_a_superseded_change_says_which_one_came(
    client: Client, change: PolicyChange, super_admin: User, organisation: Organisation
) -> None:
    post(client, change, "pause")
    newer = save_value(user=super_admin, unit=organisation.sales, value=OFF, based_on=1)
    assert "This can't be done any more" in text_of(client.get(page_of(change, "resume")))
    answer = post(client, change, "resume", based_on="1")
    assert answer.status_code == 409
    assert f"Change {newer.pk} replaced this one at" in text_of(answer)


def test_without_the_right_or_the_unit_nothing_is_done(
    client: Client, change: PolicyChange, unit_admin: User, organisation: Organisation
) -> None:
    OrgUnit.objects.filter(pk=organisation.partner_desk.pk).exists()
    client.force_login(unit_admin)
    RoleAssignment.objects.filter(user=unit_admin).delete()
    assert post(client, change, "pause").status_code == 404
    assert not change.actions.exists()


def test_a_change_of_a_unit_that_is_gone_offers_nothing(
    client: Client, change: PolicyChange, super_admin: User, organisation: Organisation
) -> None:
    gone = save_value(user=super_admin, unit=organisation.support_unit)
    OrgUnit.objects.filter(pk=organisation.support_unit.pk).delete()
    assert offered(client, gone) == []
    answer = post(client, gone, "undo")
    assert answer.status_code == 409
    assert "This unit no longer exists" in text_of(answer)


@pytest.mark.parametrize("based_on", ["", "word", "-1", "9" * 30])
def test_a_state_that_no_page_has_shown_does_nothing(
    client: Client, change: PolicyChange, based_on: str
) -> None:
    post(client, change, "pause")
    assert post(client, change, "resume", based_on=based_on).status_code in {200, 409}
    assert change.actions.count() == 1


def test_an_unknown_action_has_no_page(client: Client, change: PolicyChange) -> None:
    assert client.get(page_of(change, "explode")).status_code == 404


@pytest.mark.parametrize("slug", SLUGS)
def test_nothing_on_the_questions_needs_an_exception_from_the_policy(
    client: Client, change: PolicyChange, slug: str
) -> None:
    html = client.get(page_of(change, slug)).content.decode()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src=)", html)


@pytest.mark.parametrize("who", ["owner", "stranger", "support"])
def test_for_people_who_administer_nothing_there_is_no_such_page(
    who: str, client: Client, change: PolicyChange, request: pytest.FixtureRequest
) -> None:
    client.force_login(request.getfixturevalue(who))
    for slug in SLUGS:
        assert client.get(page_of(change, slug)).status_code == 404
        assert post(client, change, slug).status_code == 404

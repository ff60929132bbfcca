"""Why a message would go its way, or went it."""

import re
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.services.audit import SYSTEM, Actor, record_event
from accounts.services.directory import move_unit
from accounts.services.people import suspend_user
from delivery.models import Delivery
from delivery.routing import decide
from delivery.services import load_account, load_settings
from policies.models import PolicyChange, Setting
from policies.services import pause
from tests.console.rows import (
    OFF,
    ON,
    OTHER_SETTINGS,
    apply_waves,
    count_queries,
    save_value,
    text_of,
)
from tests.console.test_impact import add_address
from tests.policies.test_gateway_failure import choose

SIMULATOR = "/console/simulator/"
OUTSIDE = "own@partnerdomain.com"
HOUR = timedelta(hours=1)


def ask(client, user, sender="", **query):
    return client.get(SIMULATOR, {"account": user.primary_address, "sender": sender, **query})


def keep_delivery(user, address=OUTSIDE, *, before=HOUR, **fields):
    """As the log keeps a message that is decided now."""
    answer = decide(load_account(user), address, load_settings(user))
    known = {
        "account_address": user.primary_address,
        "created_at": timezone.now() - before,
        "explanation": answer.explanation.as_json(),
        "state": Delivery.State.DELIVERED,
        "route": answer.kind,
        "sender": answer.sender,
        "server": "relay.yourdomain.com:25",
        "envelope_sender": answer.envelope_sender,
    }
    return Delivery.objects.create(account=user, from_address=address, **{**known, **fields})


def test_the_decision_is_told_step_by_step_with_what_would_be_written(
    client, super_admin, organisation, owner
):
    add_address(owner, OUTSIDE)
    client.force_login(super_admin)
    words = text_of(ask(client, owner, OUTSIDE))
    assert "by our servers on behalf of user@yourdomain.com" in words
    assert "7 The address has no server of its own No" in words
    assert "It has smtp.partnerdomain.com, port 587." in words
    assert "8 Own servers are off for the account Yes, this decides Off by default" in words
    assert "Not reached." in words
    assert "MAIL FROM &lt; user@yourdomain.com &gt;" in words
    assert "Sender: user@yourdomain.com" in words
    assert "with own servers on MAIL FROM &lt;own@partnerdomain.com&gt;" in words


def test_the_change_that_decided_is_named_with_its_wave(
    client, unit_admin, super_admin, organisation, owner
):
    add_address(owner, OUTSIDE)
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 13)
    client.force_login(unit_admin)
    answer = ask(client, owner, OUTSIDE)
    words = text_of(answer)
    assert "through smtp.partnerdomain.com" in words
    assert "On, decided for Sales, version 1." in words
    assert f"by admin@yourdomain.com; it reached cohort {owner.cohort} at" in words
    assert f'href="{reverse("console:rollout", args=[change.pk])}"' in answer.content.decode()
    assert "user@yourdomain.com stands in none of these" in words


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("refuse", "Should that server not work, the message is refused."),
        ("hold", "Should that server not work, the message waits for it."),
        ("our_servers", "if that server does not work MAIL FROM &lt; user@yourdomain.com"),
    ],
)
def test_what_happens_should_the_server_not_work_is_told_before(
    client, super_admin, organisation, owner, choice, text
):
    add_address(owner, OUTSIDE)
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    apply_waves(choose(super_admin, organisation.sales, {"choice": choice}), 13)
    client.force_login(super_admin)
    assert text in text_of(ask(client, owner, OUTSIDE))


@pytest.mark.parametrize("sender", ["", "USER@yourdomain.com"])
def test_the_primary_address_is_what_is_asked_for_without_another(
    client, super_admin, owner, sender
):
    client.force_login(super_admin)
    words = text_of(ask(client, owner, sender))
    assert "2 From is the account&#x27;s primary address Yes, this decides" in words
    assert "Recipients see this address alone." in words


def test_a_refusal_tells_what_the_mail_program_hears(client, super_admin, owner):
    client.force_login(super_admin)
    words = text_of(ask(client, owner, "stranger@elsewhere.example"))
    assert "stranger@elsewhere.example is not one of your addresses" in words
    assert "would be written" not in words
    suspend_user(actor=SYSTEM, user=owner)
    assert "1 The account is suspended Yes, this decides" in text_of(ask(client, owner))


def minute(moment):
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M")


def applied_ago(change, ago):
    """As if the change had been saved, and its waves applied, that long ago."""
    apply_waves(change, 13)
    then = timezone.now() - ago
    change.waves.update(applied_at=then)
    PolicyChange.objects.filter(pk=change.pk).update(created_at=then, starts_at=then)


def test_a_past_time_takes_the_policy_of_then_and_shows_the_logged_message_beside_it(
    client, super_admin, organisation, owner
):
    add_address(owner, OUTSIDE)
    delivery = keep_delivery(owner, before=4 * HOUR)
    change = save_value(user=super_admin, unit=organisation.sales)
    applied_ago(change, 3 * HOUR)
    off = save_value(user=super_admin, unit=organisation.sales, value=OFF, based_on=1)
    applied_ago(off, HOUR)
    client.force_login(super_admin)
    now = timezone.now()
    words = text_of(ask(client, owner, OUTSIDE, at=minute(now - 2 * HOUR)))
    assert f"reached cohort {owner.cohort}, the account’s then" in words
    assert "unit and its addresses are taken as they are now" in words
    assert "through smtp.partnerdomain.com" in words
    assert f"On, decided for Sales, version 1. Change {change.pk}, saved at" in words
    assert "at that time MAIL FROM &lt;own@partnerdomain.com&gt;" in words
    assert "The last message from own@partnerdomain.com until then was handed in at" in words
    assert "by our servers on behalf of user@yourdomain.com Taken by the server" in words
    html = ask(client, owner, OUTSIDE, at=minute(now - 2 * HOUR)).content.decode()
    assert reverse("console:message", args=[delivery.pk]) in html
    before = text_of(ask(client, owner, OUTSIDE, at=minute(now - 5 * HOUR)))
    assert "Off by default" in before
    assert "No message from own@partnerdomain.com until then" in before
    after = text_of(ask(client, owner, OUTSIDE, at=minute(now - HOUR / 2)))
    assert "Off, decided for Sales, version 2." in after


def test_all_settings_of_a_past_time_are_those_of_then(client, super_admin, organisation, owner):
    add_address(owner, OUTSIDE, works=False)
    applied_ago(save_value(user=super_admin, unit=organisation.sales), 9 * HOUR)
    for ago, setting, value in (
        (6, Setting.GATEWAY_FAILURE, {"choice": "our_servers"}),
        (4, *OTHER_SETTINGS[1][:2]),
        (2, Setting.GATEWAY_GUARDRAILS, {"domains": {"allowed": [], "denied": ["*.example"]}}),
    ):
        change = save_value(user=super_admin, unit=organisation.sales, setting=setting, value=value)
        applied_ago(change, ago * HOUR)
    client.force_login(super_admin)

    def told(hours):
        return text_of(ask(client, owner, OUTSIDE, at=minute(timezone.now() - hours * HOUR)))

    assert "The mail program hears: smtp.partnerdomain.com no longer accepts" in told(7)
    assert "lets our servers carry it then" in told(5)
    assert "outbound gateway of" not in told(5)
    assert "It leaves by the outbound gateway of Sales." in told(3)


def test_what_has_changed_since_a_past_time_is_told(
    client, super_admin, organisation, owner, colleague, stranger
):
    User.objects.filter(pk=owner.pk).update(created_at=timezone.now() - 9 * HOUR)
    owner.refresh_from_db()
    add_address(owner, OUTSIDE, works=False)
    about = {"unit": owner.unit, "account": owner.primary_address}
    record_event(Actor(owner), "gateway_set", OUTSIDE, **about)
    record_event(Actor(owner), "gateway_set", "other@partnerdomain.com", **about)
    record_event(
        Actor(colleague), "send_as_verified", OUTSIDE, **about | {"account": "colleague@x.example"}
    )
    move_unit(actor=SYSTEM, unit=organisation.sales, parent=organisation.support_unit)
    suspend_user(actor=SYSTEM, user=owner)
    client.force_login(super_admin)
    words = text_of(ask(client, owner, OUTSIDE, at=minute(timezone.now() - HOUR)))
    told = words.partition("so it may have been otherwise:")[2].partition(" Route ")[0]
    assert sorted(re.findall(r": ([A-Z][a-z ]+[a-z])", told)) == [
        "Account suspended",
        "Its own server refused the password",
        "Own server given to an address",
        "Unit moved",
    ]
    long_ago = text_of(ask(client, owner, OUTSIDE, at=minute(timezone.now() - 10 * HOUR)))
    assert ": Account created" in long_ago
    User.objects.filter(pk=stranger.pk).update(created_at=timezone.now() - 9 * HOUR)
    quiet = text_of(ask(client, stranger, at=minute(timezone.now() - HOUR)))
    assert "Nothing of them that the history tells has changed since." in quiet


def test_a_time_to_come_tells_what_is_planned_if_nothing_else_changes(
    client, super_admin, organisation, owner
):
    User.objects.filter(pk=owner.pk).update(cohort=12)
    add_address(owner, OUTSIDE)
    first = save_value(user=super_admin, unit=organisation.sales)
    now = timezone.now()
    second = save_value(
        user=super_admin, unit=organisation.sales, value=OFF, based_on=1, starts_at=now + 5 * HOUR
    )
    paused = save_value(user=super_admin, unit=organisation.root)
    pause(actor=Actor(super_admin), change=paused, based_on=0)
    client.force_login(super_admin)
    soon = text_of(ask(client, owner, OUTSIDE, at=minute(now + HOUR / 2)))
    assert "if nothing else changes" in soon
    assert "The account is taken to stay in cohort 12." in soon
    assert "Nothing reaches it until then." in soon
    assert "Off by default" in soon
    later = text_of(ask(client, owner, OUTSIDE, at=minute(now + 2 * HOUR)))
    assert "through smtp.partnerdomain.com" in later
    assert f"Change {first.pk}, Per-user outbound gateways, Sales" in later
    assert "; it is to reach cohort 12 at" in later
    assert f"Paused, so not counted: Change {paused.pk}" in later
    assert "What the log has" not in later
    last = text_of(ask(client, owner, OUTSIDE, at=minute(now + 6 * HOUR)))
    assert f"Off, decided for Sales, version 2. Change {second.pk}, saved at" in last
    assert "by our servers on behalf of user@yourdomain.com" in last


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"account": ""}, "Type the primary address of an account."),
        ({"account": "nobody@yourdomain.com"}, "No account that you administer has this"),
        ({"sender": "no address"}, "That is no address"),
        ({"at": "soon"}, "Write a date and a time"),
        ({"at": "2999-01-01T10:00"}, "That is more than a year away."),
        ({"at": "9999-12-31T23:59"}, "That is more than a year away."),
    ],
)
def test_bad_input_says_what_to_do_and_is_kept(client, super_admin, owner, query, text):
    client.force_login(super_admin)
    answer = client.get(SIMULATOR, {"account": owner.primary_address, **query})
    assert text in text_of(answer)
    assert all(f'value="{typed}"' in answer.content.decode() for typed in query.values() if typed)


def test_accounts_and_messages_of_other_units_are_nobodys(client, unit_admin, stranger, owner):
    client.force_login(unit_admin)
    assert "No account that you administer" in text_of(ask(client, stranger))
    for user, status in ((owner, 200), (stranger, 404)):
        delivery = keep_delivery(user, user.primary_address)
        url = reverse("console:message", args=[delivery.pk])
        assert client.get(url).status_code == status
    assert client.get(reverse("console:message", args=[uuid.uuid4()])).status_code == 404


def test_a_message_has_a_page_that_says_why_it_went_its_way(client, super_admin, owner):
    add_address(owner, OUTSIDE)
    delivery = keep_delivery(owner, reply="250 2.0.0 Kept as 4Xk2", message_id="<1@x>")
    client.force_login(super_admin)
    words = text_of(client.get(reverse("console:message", args=[delivery.pk])))
    assert "Why this route?" in words
    assert "250 2.0.0 Kept as 4Xk2" in words
    assert "Own servers are off for the account Yes, this decides" in words
    assert "Recipients may see “on behalf of user@yourdomain.com”." in words
    Delivery.objects.filter(pk=delivery.pk).update(account=None)
    assert client.get(reverse("console:message", args=[delivery.pk])).status_code == 200


@pytest.mark.parametrize("page", ["console:message", "admin:delivery_delivery_change"])
def test_a_message_by_the_old_rule_is_marked_as_that(
    client, super_admin, organisation, owner, page
):
    add_address(owner, OUTSIDE)
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.support_unit)  # not above the account
    change = save_value(user=super_admin, unit=organisation.sales)
    half_an_hour_ago = timezone.now() - HOUR / 2
    PolicyChange.objects.update(created_at=half_an_hour_ago, starts_at=half_an_hour_ago)
    before, old = keep_delivery(owner), keep_delivery(owner, before=HOUR / 4)

    def words(delivery):
        return text_of(client.get(reverse(page, args=[delivery.pk])))

    told = f"By the old rule Change {change.pk}, saved at"
    assert told in words(old)
    assert f"had not reached cohort {owner.cohort} yet." in words(old)
    assert "It did at" not in words(old)
    assert "By the old rule" not in words(before)
    change.refresh_from_db()
    apply_waves(change, 13)
    assert told in words(old)
    assert "It did at" in words(old)
    assert "By the old rule" not in words(keep_delivery(owner, before=timedelta()))


def test_a_message_refused_before_a_route_was_asked_for_has_no_ladder(client, super_admin, owner):
    delivery = keep_delivery(
        owner, owner.primary_address, explanation={}, state=Delivery.State.REFUSED, route="",
        reply="554 5.6.0 The message has 2 From fields",
    )  # fmt: skip
    client.force_login(super_admin)
    words = text_of(client.get(reverse("console:message", args=[delivery.pk])))
    assert "554 5.6.0 The message has 2 From fields" in words
    assert "The decision" not in words


def test_the_account_leads_here_and_here_leads_to_its_addresses_and_messages(
    client, super_admin, owner
):
    add_address(owner, OUTSIDE)
    delivery = keep_delivery(owner)
    client.force_login(super_admin)
    url = f"{SIMULATOR}?account=user%40yourdomain.com"
    account = client.get(reverse("console:account", args=[owner.pk])).content.decode()
    assert f'href="{url}"' in account
    assert f'href="{url}&amp;sender=own%40partnerdomain.com"' in account
    html = client.get(url).content.decode()
    assert 'sender=own%40partnerdomain.com"' in html
    assert html.index('id="addresses"') < html.index('id="decision"')
    assert reverse("console:message", args=[delivery.pk]) in html


def test_the_number_of_queries_does_not_depend_on_addresses_messages_or_changes(
    client, super_admin, organisation, owner
):
    client.force_login(super_admin)
    counts, version = set(), 0
    for letter in "ab":
        for number in range(10):
            add_address(owner, f"{letter}{number}@partnerdomain.com")
            keep_delivery(owner, f"{letter}{number}@partnerdomain.com")
            save_value(
                user=super_admin,
                unit=organisation.sales,
                value=OFF if number % 2 else ON,
                based_on=version,
            )
            version += 1
        at = [{}, {"at": minute(timezone.now() - HOUR)}, {"at": minute(timezone.now() + HOUR)}]
        counts.add(
            tuple(count_queries(lambda when=when: ask(client, owner, **when)) for when in at)
        )
    assert len(counts) == 1

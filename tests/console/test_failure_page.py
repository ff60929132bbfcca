"""The page of what happens when an address's own server does not work."""

import re
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, OrgUnit, User
from delivery.services import load_settings
from policies.models import GatewayFailure, GatewayPolicy, PolicyChange, Setting
from tests.conftest import Organisation
from tests.console.rows import apply_waves, assert_refused, count_queries, create_units, text_of
from tests.policies.test_gateway_failure import HOLD, choose


def page_of(unit: OrgUnit) -> str:
    return reverse("console:failure", args=[unit.pk])


def post(client: Client, unit: OrgUnit, **fields: Any) -> HttpResponse:
    data = {"choice": "override", "on_failure": "hold", "based_on": "0", **fields}
    return client.post(page_of(unit), data)


def own(unit: OrgUnit) -> Any:
    return GatewayPolicy.objects.get(unit=unit, setting=Setting.GATEWAY_FAILURE).value


def test_the_page_says_what_each_choice_means(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    words = text_of(client.get(page_of(organisation.sales)))
    assert "Default (Refuse the message)" in words
    for choice in GatewayFailure:
        assert str(choice.label) in words
    assert words.count("Whoever writes:") == words.count("Recipients:") == 3


def test_a_choice_is_saved_rolls_out_and_is_inherited_below(
    client: Client, unit_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    saved = post(client, organisation.sales, reason="Servers over there are often away")
    change = PolicyChange.objects.get()
    assert saved["Location"] == f"{page_of(organisation.sales)}?saved={change.pk}"
    assert "everyone has it by" in text_of(client.get(saved["Location"]))
    apply_waves(change, 13)
    assert load_settings(owner).on_failure == GatewayFailure.HOLD
    below = text_of(client.get(page_of(organisation.partner_desk)))
    assert "Inherited from Sales: Hold it and try again." in below
    rollout = client.get(reverse("console:rollout", args=[change.pk]))
    assert "does not work: Hold it and try again, for Sales" in text_of(rollout)
    assert page_of(organisation.sales) in rollout.content.decode()
    post(client, organisation.sales, choice="inherit", based_on="1")
    assert own(organisation.sales) is None


def test_the_audit_tells_it_in_words(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    post(client, organisation.sales, reason="As agreed")
    assert AuditEvent.objects.filter(name="policy_changed").count() == 1
    words = text_of(client.get(reverse("console:audit")))
    assert "Hold it and try again" in words
    assert "As agreed" in words


def test_the_second_of_two_administrators_overwrites_nothing(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    choose(super_admin, organisation.sales, HOLD)
    client.force_login(unit_admin)
    response = post(client, organisation.sales, on_failure="our_servers")
    assert response.status_code == 409
    assert "It is Hold it and try again since" in text_of(response)
    html = response.content.decode()
    assert re.search(r'name="based_on" value="1"', html)
    assert re.search(r'value="our_servers"[^>]* checked', html)
    assert own(organisation.sales) == HOLD


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"choice": ""}, "Choose Inherit or Override"),
        ({"on_failure": ""}, "Choose one of the three"),
        ({"on_failure": "drop"}, "Select a valid choice"),
        ({"choice": "inherit"}, "Inherit is chosen, so what you chose has no effect"),
        ({"starts_at": "2020-01-01T10:00"}, "That time has passed"),
    ],
)
def test_what_cannot_be_is_refused(
    client: Client,
    unit_admin: User,
    organisation: Organisation,
    typed: dict[str, str],
    words: str,
) -> None:
    client.force_login(unit_admin)
    assert_refused(post(client, organisation.sales, **typed), words)


def test_nothing_is_saved_for_a_root_that_stays_at_the_default(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    words = text_of(post(client, organisation.root, on_failure="refuse"))
    assert "Nothing to save" in words
    assert not PolicyChange.objects.exists()


def test_it_is_found_by_a_word_and_linked_from_the_unit(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    for word in ("retry", "unreachable", "fallback"):
        found = client.get(reverse("console:search"), {"q": word})
        assert "Own server fails" in text_of(found)
    unit = client.get(reverse("console:mail_advanced", args=[organisation.sales.pk]))
    assert page_of(organisation.sales) in unit.content.decode()
    assert reverse("console:failure") in client.get(reverse("console:mail")).content.decode()


def test_the_page_costs_the_same_queries_with_more_units(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    create_units(organisation.sales, "Team")
    before = count_queries(lambda: client.get(page_of(organisation.sales)))
    create_units(organisation.sales, "Group")
    assert count_queries(lambda: client.get(page_of(organisation.sales))) == before

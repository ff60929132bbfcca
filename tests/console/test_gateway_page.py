import re
import threading
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, OrgUnit, User
from accounts.services.audit import SYSTEM
from accounts.services.roles import remove_role
from policies.models import GatewayPolicy, PolicyChange
from tests.conftest import Organisation
from tests.console.rows import (
    GATEWAY,
    OFF,
    ON,
    apply_waves,
    assert_refused,
    save_value,
    set_guardrails,
    text_of,
)
from tests.policies.test_gateway_failure import HOLD, choose

TITLES = {"console:mail_advanced": "Advanced settings", "console:mail_access": "End user access"}
PAGES = list(TITLES)


def page_of(unit: OrgUnit, view_name: str = "console:mail_advanced") -> str:
    return reverse(view_name, args=[unit.pk])


def post(client: Client, unit: OrgUnit, /, **fields: Any) -> HttpResponse:
    data = {"choice": "override", "based_on": "0", "reason": "", **fields}
    return client.post(page_of(unit), data)


def own(unit: OrgUnit) -> Any:
    return GatewayPolicy.objects.get(unit=unit, setting=GATEWAY).value


def checkbox(response: HttpResponse) -> str:
    found = re.search(r'<input type="checkbox"[^>]*>', response.content.decode())
    assert found
    return found[0]


@pytest.mark.parametrize("view_name", PAGES)
def test_both_paths_save_the_same_thing(
    view_name: str, client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(organisation.sales, view_name)
    shown = client.get(url)
    assert f"<h1>{TITLES[view_name]}</h1>" in shown.content.decode()
    assert "Default (Off)" in text_of(shown)
    data = {"choice": "override", "allowed": "on", "based_on": "0", "reason": "The partner asks"}
    response = client.post(url, data)
    change = PolicyChange.objects.get()
    assert response["Location"] == f"{url}?saved={change.pk}"
    assert own(organisation.sales) == ON
    assert (change.old, change.new, change.reason) == (None, ON, "The partner asks")
    assert change.actor_address == super_admin.primary_address


def test_a_saved_change_is_in_the_audit_with_its_network_address(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    post(client, organisation.sales, allowed="on")
    event = AuditEvent.objects.get(name="policy_changed")
    assert event.client_ip == "127.0.0.1"
    assert event.actor_id == super_admin.pk


def test_after_saving_the_page_says_until_when_and_moves_by_itself(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    response = client.post(
        page_of(organisation.sales),
        {"choice": "override", "allowed": "on", "based_on": "0", "reason": ""},
        follow=True,
    )
    change = PolicyChange.objects.get()
    words = text_of(response)
    assert f"as change {change.pk}" in words
    assert "0 of 12 waves applied; everyone has it by" in words
    assert "Overridden here" in words
    apply_waves(change, 3)
    part = client.get(
        f"{page_of(organisation.sales)}?saved={change.pk}", headers={"HX-Request": "true"}
    )
    assert "2 of 12 waves applied" in text_of(part)
    assert 'aria-valuenow="2"' in part.content.decode()
    assert b"every 2s" in part.content
    assert b"<html" not in part.content


def test_the_progress_stops_asking_when_everybody_has_it(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 13)
    url = f"{page_of(organisation.sales)}?saved={change.pk}&seen=rolling-11"
    part = client.get(url, headers={"HX-Request": "true"})
    assert "everyone has it since" in text_of(part)
    assert b"every 2s" not in part.content
    assert b'id="announcement"' in part.content


def test_a_wave_is_announced_once(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.sales)
    url = f"{page_of(organisation.sales)}?saved={change.pk}&seen=rolling-0"
    assert b'id="announcement"' not in client.get(url, headers={"HX-Request": "true"}).content


def test_another_units_change_is_not_shown_as_just_saved(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.sales)
    for saved in (str(change.pk), "word", "9" * 30):
        response = client.get(f"{page_of(organisation.support_unit)}?saved={saved}")
        assert "as change" not in text_of(response)


def test_inherit_restores_and_the_reason_beside_the_checkbox_says_from_where(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.sales, value=ON)
    save_value(user=super_admin, unit=organisation.partner_desk, value=OFF)
    page = client.get(page_of(organisation.partner_desk))
    assert "Inherit (On)" in text_of(page)
    assert "checked" not in checkbox(page)
    assert re.search(r"data-while-inherited hidden>", page.content.decode())
    response = post(client, organisation.partner_desk, choice="inherit", based_on="1")
    assert response.status_code == 302
    assert own(organisation.partner_desk) is None
    page = client.get(page_of(organisation.partner_desk))
    assert "On, inherited from Sales. Choose Override to change it here." in text_of(page)
    assert "checked" in checkbox(page)


def test_a_form_that_was_sent_twice_is_saved_once_and_leads_to_its_change(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    first = post(client, organisation.sales, allowed="on")
    assert post(client, organisation.sales, allowed="on").url == first.url
    assert PolicyChange.objects.count() == 1
    assert post(client, organisation.sales).status_code == 409


def test_without_script_override_and_a_ticked_checkbox_are_one_save(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    assert "disabled" not in checkbox(client.get(page_of(organisation.sales)))
    post(client, organisation.sales, choice="override", allowed="on")
    assert own(organisation.sales) == ON


def test_the_save_bar_says_only_what_the_form_stands_at(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    html = client.get(page_of(organisation.sales)).content.decode()
    titles = re.findall(r'<p class="save-title" data-shown-for="(\w+)"( hidden)?>', html)
    assert titles == [("saved", ""), ("on", " hidden"), ("off", " hidden")]


def test_a_value_from_above_is_told_with_its_unit_and_a_default_as_such(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(organisation.sales)
    assert "Off by default: no unit above sets it" in text_of(client.get(url))
    save_value(user=super_admin, unit=organisation.root)
    words = text_of(client.get(url))
    assert "Inherited from yourdomain.com" in words
    assert "Default (" not in words


def test_a_tick_beside_inherit_is_not_ignored_without_a_word(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(organisation.sales)
    ticked = {"choice": "inherit", "allowed": "on", "based_on": "0"}
    answer = client.post(url, ticked)
    assert "Choose Override to allow it here" in text_of(answer)
    assert "checked" in checkbox(answer)
    assert not PolicyChange.objects.exists()
    # The tick of an own value may stay where the unit is set back to Inherit.
    save_value(user=super_admin, unit=organisation.sales)
    assert client.post(url, ticked | {"based_on": "1"}).status_code == 302
    assert own(organisation.sales) is None


def test_the_root_has_neither_label_nor_inherit(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    page = client.get(reverse("console:mail_advanced"))
    words = text_of(page)
    assert 'name="choice"' not in page.content.decode()
    assert "Inherited from" not in words
    assert "Overridden here" not in words
    client.post(page_of(organisation.root), {"allowed": "on", "based_on": "0"})
    assert own(organisation.root) == ON


def test_a_root_left_at_the_default_records_no_change(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    response = client.post(page_of(organisation.root), {"based_on": "0"})
    assert "Nothing to save" in text_of(response)
    assert not PolicyChange.objects.exists()


def test_saving_what_is_saved_says_so(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.sales)
    response = post(client, organisation.sales, allowed="on", based_on="1")
    assert response.status_code == 200
    assert "Nothing to save: Sales is already so" in text_of(response)
    assert PolicyChange.objects.count() == 1


def test_a_stale_save_overwrites_nothing_and_a_second_one_goes_through(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    newest = save_value(user=unit_admin, unit=organisation.sales, value=OFF)
    response = post(client, organisation.sales, allowed="on", reason="Typed before")
    words = text_of(response)
    assert response.status_code == 409
    assert "Emre Aydin changed Sales while you were here" in words
    assert "It is Off since" in words
    assert f"(change {newest.pk})" in words
    assert own(organisation.sales) == OFF
    html = response.content.decode()
    assert "checked" in checkbox(response)
    assert 'value="Typed before"' in html
    assert re.search(r'name="based_on" value="1"', html)
    assert post(client, organisation.sales, allowed="on", based_on="1").status_code == 302
    assert own(organisation.sales) == ON


def test_a_stale_save_tells_that_the_other_chose_inherit(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.sales)
    save_value(user=unit_admin, unit=organisation.sales, value=None, based_on=1)
    response = post(client, organisation.sales, based_on="1")
    assert "It inherits its value since" in text_of(response)


@pytest.mark.parametrize("based_on", ["", "word", "-1", "7", "9" * 5000, "²"])
def test_a_version_that_no_page_has_shown_counts_as_none_seen(
    based_on: str, client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.sales, value=OFF)
    response = post(client, organisation.sales, allowed="on", based_on=based_on)
    assert response.status_code == 409
    assert own(organisation.sales) == OFF


def test_without_a_choice_nothing_is_saved_and_what_was_typed_is_kept(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    response = post(client, organisation.sales, choice="", allowed="on", reason="r" * 501)
    assert_refused(response, "Choose Inherit or Override, then save again.", "r" * 501)
    assert "What you chose is kept." in text_of(response)
    assert "checked" in checkbox(response)


@pytest.mark.parametrize("view_name", PAGES)
def test_only_get_and_post_are_answered(
    view_name: str, client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    assert client.put(page_of(organisation.sales, view_name)).status_code == 405
    assert client.delete(page_of(organisation.sales, view_name)).status_code == 405


@pytest.mark.parametrize("view_name", PAGES)
@pytest.mark.parametrize("who", ["owner", "stranger", "support"])
def test_for_people_who_administer_nothing_there_is_no_such_page(
    view_name: str,
    who: str,
    client: Client,
    organisation: Organisation,
    request: pytest.FixtureRequest,
) -> None:
    client.force_login(request.getfixturevalue(who))
    url = page_of(organisation.sales, view_name)
    assert client.get(url).status_code == 404
    assert client.post(url, {"choice": "override", "based_on": "0"}).status_code == 404
    assert not PolicyChange.objects.exists()


@pytest.mark.parametrize("view_name", PAGES)
def test_a_unit_administrator_reaches_neither_beside_nor_above(
    view_name: str, client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    for unit in (organisation.root, organisation.support_unit):
        url = page_of(unit, view_name)
        assert client.get(url).status_code == 404
        assert client.post(url, {"choice": "override", "based_on": "0"}).status_code == 404
    for unit in (organisation.sales, organisation.partner_desk):
        assert client.get(page_of(unit, view_name)).status_code == 200
    assert not PolicyChange.objects.exists()


def test_without_a_unit_the_page_is_about_the_topmost_administered_one(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    assert "<h2>Sales</h2>" in client.get(reverse("console:mail_advanced")).content.decode()


def test_signed_out_people_are_sent_to_sign_in_but_a_live_part_reloads(
    client: Client, organisation: Organisation
) -> None:
    url = page_of(organisation.sales)
    assert client.get(url)["Location"].startswith(reverse("account_login"))
    assert client.get(url, headers={"HX-Request": "true"})["HX-Refresh"] == "true"


def test_nothing_on_the_page_needs_an_exception_from_the_policy(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    change = save_value(user=super_admin, unit=organisation.sales)
    for url in (page_of(organisation.sales), f"{page_of(organisation.sales)}?saved={change.pk}"):
        html = client.get(url).content.decode()
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src=)", html)


@pytest.mark.django_db(transaction=True)
def test_a_right_taken_away_meanwhile_is_told_and_the_choice_is_kept(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    """The save waits for its unit's row; the role goes while it waits."""
    client.force_login(unit_admin)
    answers: list[HttpResponse] = []

    def save() -> None:
        answers.append(post(client, organisation.sales, allowed="on", reason="Typed before"))
        connections.close_all()

    saving = threading.Thread(target=save)
    with transaction.atomic():
        OrgUnit.objects.select_for_update().get(pk=organisation.sales.pk)
        saving.start()
        wait_for_a_blocked_save()
        remove_role(actor=SYSTEM, assignment=unit_admin.roles.get())
    saving.join(10)
    response = answers[0]
    assert response.status_code == 403
    assert "You no longer administer Sales" in text_of(response)
    assert 'value="Typed before"' in response.content.decode()
    assert "checked" in checkbox(response)
    assert not PolicyChange.objects.exists()


def wait_for_a_blocked_save() -> None:
    with connection.cursor() as cursor:
        for _ in range(200):
            # A transaction sees one snapshot of the activity, unless told otherwise.
            cursor.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.02)")
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            if cursor.fetchone()[0]:
                return
    pytest.fail("No save came to wait for the unit.")


def test_the_other_settings_of_the_unit_stand_above_it(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    shown = client.get(page_of(organisation.sales))
    assert "Own server fails Refuse the message by default" in text_of(shown)
    for name in ("outbound", "guardrails", "failure"):
        url = reverse(f"console:{name}", args=[organisation.sales.pk])
        assert f'href="{url}"' in shown.content.decode()
    choose(super_admin, organisation.sales, HOLD)
    few = {"addresses": {"most": 5}}
    for unit, value in (
        (organisation.root, few),
        (organisation.partner_desk, {"approval": {"needed": True}}),
    ):
        set_guardrails(super_admin, unit, value)
    words = text_of(client.get(page_of(organisation.partner_desk)))
    assert "Own server fails Hold it and try again Inherited from Sales" in words
    assert "Addresses per person: at most 5 · Approval: needed for a new server Overridden" in words
    words = text_of(client.get(page_of(organisation.root)))
    assert "Guardrails Addresses per person: at most 5 Own server fails" in words

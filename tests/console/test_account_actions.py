"""Suspending, restoring and moving accounts, by who manages them and by who doesn't."""

import re
from html import unescape

import pytest
from django.db.models.functions import Now
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, OrgUnit, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import delete_unit, move_unit, rename_unit
from accounts.services.people import add_alias, move_user, suspend_user
from accounts.services.roles import assign_role, change_privileges
from delivery.models import OutboxMessage
from tests.conftest import Organisation
from tests.console.rows import (
    OFF,
    OTHER_SETTINGS,
    apply_waves,
    count_queries,
    create_units,
    save_value,
    text_of,
)
from tests.console.test_accounts import make_accounts, page_of

SUSPEND, RESTORE, MOVE = (
    "console:account_suspend",
    "console:account_restore",
    "console:account_move",
)


def make_message(user: User, state: str = "waiting") -> None:
    finished = None if state == "waiting" else Now()
    OutboxMessage.objects.create(
        account=user, source="smtp", state=state, recipients=[], expires_at=Now(),
        finished_at=finished,
    )  # fmt: skip


def hidden(response: HttpResponse) -> dict[str, str]:
    html = response.content.decode()
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html))


def ask_to_move(client: Client, user: User, unit: OrgUnit) -> HttpResponse:
    return client.get(page_of(user, MOVE), {"to": unit.pk})


def words_of(response: HttpResponse) -> str:
    return unescape(text_of(response))


def test_who_manages_accounts_finds_them_and_nothing_of_their_mail_settings(
    client: Client, users_admin: User, owner: User, stranger: User, organisation: Organisation
) -> None:
    add_alias(actor=SYSTEM, user=owner, address="tanaka@yourdomain.com")
    client.force_login(users_admin)
    start = client.get(reverse("console:overview")).content.decode()
    for url in (reverse("console:accounts"), reverse("console:units")):
        assert f'href="{url}"' in start
    response = client.get(reverse("console:accounts"))
    html = response.content.decode()
    assert page_of(owner) in html
    assert page_of(stranger) not in html
    assert "Own servers now" not in html
    response = client.get(page_of(owner))
    words = words_of(response)
    assert "Sales › Partner desk" in words
    assert "user@yourdomain.com primary tanaka@yourdomain.com" in words
    assert "Guardrails" not in words
    for name in (MOVE, SUSPEND):
        assert page_of(owner, name) in response.content.decode()
    assert page_of(owner, "console:account_now") not in response.content.decode()
    assert client.get(page_of(owner, "console:account_now")).status_code == 404


def test_with_each_privilege_in_another_unit_each_account_shows_what_is_for_these_eyes(
    client: Client,
    users_admin: User,
    owner: User,
    stranger: User,
    organisation: Organisation,
) -> None:
    role = RoleAssignment.Role.UNIT_ADMIN
    assign_role(
        actor=SYSTEM, user=users_admin, role=role, unit=organisation.support_unit,
        privileges=["mail_settings"],
    )  # fmt: skip
    client.force_login(users_admin)
    words = words_of(client.get(reverse("console:accounts")))
    assert "user@yourdomain.com Yuki Tanaka Unit Partner desk : its accounts" in words
    assert "Own servers now – On its way –" in words
    assert "Own servers now Off On its way Nothing" in words
    assert "Guardrails" not in words_of(client.get(page_of(owner)))
    response = client.get(page_of(stranger))
    assert "Guardrails" in words_of(response)
    assert "Changing it takes the privilege “Users”" in words_of(response)
    assert client.get(page_of(stranger, SUSPEND)).status_code == 404


def test_the_way_up_links_only_to_units_whose_mail_settings_one_sees(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    role = RoleAssignment.Role.UNIT_ADMIN
    assign_role(
        actor=SYSTEM, user=users_admin, role=role, unit=organisation.partner_desk,
        privileges=["mail_settings"],
    )  # fmt: skip
    client.force_login(users_admin)
    html = client.get(page_of(owner)).content.decode()
    pages = {
        unit: reverse("console:mail_advanced", args=[unit.pk])
        for unit in (organisation.root, organisation.sales, organisation.partner_desk)
    }
    linked = [unit for unit, page in pages.items() if f'href="{page}"' in html]
    assert linked == [organisation.partner_desk]
    assert client.get(pages[organisation.sales]).status_code == 404


def test_an_account_is_suspended_and_restored_with_a_word_before_and_after(
    client: Client, users_admin: User, owner: User
) -> None:
    make_message(owner)
    make_message(owner, state="sent")
    client.force_login(users_admin)
    words = words_of(client.get(page_of(owner, SUSPEND)))
    assert "Within a second its sessions end" in words
    assert "1 message of it that waits in the outbox is not sent." in words
    response = client.post(page_of(owner, SUSPEND), {"reason": "Left us"}, follow=True)
    assert "user@yourdomain.com is suspended: it can neither sign in nor send." in words_of(
        response
    )
    owner.refresh_from_db()
    assert owner.suspended
    event = AuditEvent.objects.get(name="account_suspended")
    assert (event.actor_id, event.details) == (users_admin.pk, {"reason": "Left us"})
    assert "The account is suspended already" in words_of(client.get(page_of(owner, SUSPEND)))
    assert page_of(owner, RESTORE) in response.content.decode()
    assert "Sessions that the suspension ended stay ended" in words_of(
        client.get(page_of(owner, RESTORE))
    )
    client.post(page_of(owner, RESTORE))
    owner.refresh_from_db()
    assert not owner.suspended
    assert AuditEvent.objects.filter(name="account_restored").count() == 1


def test_too_long_a_reason_is_refused_and_kept(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    long = "x" * 501
    asked = hidden(ask_to_move(client, owner, organisation.sales))
    for name, data in ((SUSPEND, {}), (MOVE, asked)):
        response = client.post(page_of(owner, name), {**data, "reason": long})
        assert "Not saved yet" in words_of(response)
        assert long in response.content.decode()
    owner.refresh_from_db()
    assert (owner.suspended, owner.unit_id) == (False, organisation.partner_desk.pk)


def test_an_account_with_a_role_is_left_to_super_administrators(
    client: Client, users_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    response = client.get(page_of(unit_admin))
    assert "only a super administrator can change it" in words_of(response)
    for name in (SUSPEND, MOVE):
        url = page_of(unit_admin, name)
        assert url not in response.content.decode()
        asked = client.get(url)
        assert "Only a super administrator can do this" in words_of(asked)
        assert b'<form class="card"' not in asked.content
        data = {"unit_id": unit_admin.unit_id, "to": organisation.partner_desk.pk}
        refused = client.post(url, data)
        assert refused.status_code == 409
        assert "Nothing was done." in words_of(refused)
    unit_admin.refresh_from_db()
    assert (unit_admin.suspended, unit_admin.unit_id) == (False, organisation.sales.pk)


def test_nobody_suspends_himself(client: Client, super_admin: User) -> None:
    client.force_login(super_admin)
    assert page_of(super_admin, SUSPEND) not in client.get(page_of(super_admin)).content.decode()
    url = page_of(super_admin, SUSPEND)
    assert "You can’t suspend your own account" in words_of(client.get(url))
    assert client.post(url).status_code == 409
    super_admin.refresh_from_db()
    assert not super_admin.suspended


def test_before_a_move_the_page_says_what_takes_effect_at_once(
    client: Client, super_admin: User, users_admin: User, owner: User, organisation: Organisation
) -> None:
    """By what has reached the account's cohort, not by what is saved."""
    User.objects.filter(pk=owner.pk).update(cohort=12)
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    off = save_value(user=super_admin, unit=organisation.partner_desk, value=OFF)
    apply_waves(off, 13)
    setting, value, told = OTHER_SETTINGS[0]
    forbidden = save_value(
        user=super_admin, unit=organisation.partner_desk, setting=setting, value=value
    )
    apply_waves(forbidden, 4)
    client.force_login(users_admin)
    response = ask_to_move(client, owner, organisation.sales)
    words = words_of(response)
    assert "It takes effect at once, not in waves. 7 other settings stay as they are." in words
    gateways = (
        "Setting Per-user outbound gateways Now Off After the move, at once On Addresses that have "
        "an own server send through it from then on."
    )
    assert gateways in words
    assert re.search(rf"Setting Servers Now all on its way: {told} by .+? After the move", words)
    data = {**hidden(response), "reason": "New job"}
    moved = client.post(page_of(owner, MOVE), data, follow=True)
    assert "user@yourdomain.com is in Sales now." in words_of(moved)
    owner.refresh_from_db()
    assert owner.unit_id == organisation.sales.pk
    event = AuditEvent.objects.get(name="account_moved")
    assert event.details == {
        "old": "yourdomain.com › Sales › Partner desk",
        "new": "yourdomain.com › Sales",
        "reason": "New job",
    }
    assert client.post(page_of(owner, MOVE), data).status_code == 302
    assert AuditEvent.objects.filter(name="account_moved").count() == 1


def test_a_move_that_changes_nothing_says_so(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    words = words_of(ask_to_move(client, owner, organisation.sales))
    assert "No setting changes for this account" in words


def test_one_chooses_among_the_units_that_one_manages(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    create_units(organisation.sales, "Branch")
    url = page_of(owner, MOVE)
    response = client.get(url)
    html = response.content.decode()
    assert f'href="{url}?to={organisation.sales.pk}"' in html
    for unit in (organisation.root, organisation.support_unit, organisation.partner_desk):
        assert f"?to={unit.pk}" not in html
        assert b"seen_unit" not in ask_to_move(client, owner, unit).content
    found = client.get(url, {"q": "branch 7", "reason": "Typed & kept"}).content.decode()
    assert len(re.findall(r"\?to=\d+&amp;reason=Typed%20%26%20kept", found)) == 1
    assert "No unit is called “zebra”" in words_of(client.get(url, {"q": "zebra"}))
    for to in ("", "word", "9" * 40):
        assert client.get(url, {"to": to}).status_code == 200
        assert client.post(url, {"to": to}).status_code == 200


def test_of_many_units_the_first_are_listed_and_the_others_found_by_name(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    url = page_of(owner, MOVE)
    for number in range(5):
        create_units(organisation.support_unit, f"Branch {number}")
    few = count_queries(lambda: client.get(url, {"q": "Branch 1"}))
    words = words_of(client.get(url))
    assert "3 more units: find them by name." in words
    assert count_queries(lambda: client.get(url)) == few


def test_an_account_that_was_moved_meanwhile_stays_where_it_is(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    data = hidden(ask_to_move(client, owner, organisation.sales))
    move_user(actor=SYSTEM, user=owner, unit=organisation.support_unit)
    response = client.post(page_of(owner, MOVE), {**data, "reason": "Typed"})
    assert response.status_code == 409
    words = words_of(response)
    assert "The account was moved to Support meanwhile. Nothing was done." in words
    assert "From Support to yourdomain.com › Sales" in words
    assert 'value="Typed"' in response.content.decode()
    assert client.post(page_of(owner, MOVE), hidden(response)).status_code == 302
    owner.refresh_from_db()
    assert owner.unit_id == organisation.sales.pk


def test_a_unit_that_was_moved_meanwhile_is_shown_again_with_what_changes_there(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    apply_waves(save_value(user=super_admin, unit=organisation.support_unit), 13)
    [unit, *_others] = create_units(organisation.sales, "Branch")
    asked = ask_to_move(client, owner, unit)
    assert "No setting changes" in words_of(asked)
    move_unit(actor=SYSTEM, unit=unit, parent=organisation.support_unit)
    response = client.post(page_of(owner, MOVE), hidden(asked))
    assert response.status_code == 409
    words = words_of(response)
    assert "is now yourdomain.com › Support › Branch 0. Nothing was done." in words
    assert "Per-user outbound gateways Now Off After the move, at once On" in words
    assert client.post(page_of(owner, MOVE), hidden(response)).status_code == 302


def test_moved_there_by_somebody_else_and_the_unit_renamed_it_says_so(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    data = {**hidden(ask_to_move(client, owner, organisation.sales)), "reason": "Typed"}
    move_user(actor=SYSTEM, user=owner, unit=organisation.sales)
    rename_unit(actor=SYSTEM, unit=organisation.sales, name="Trade")
    response = client.post(page_of(owner, MOVE), data)
    assert response.status_code == 409
    assert "Sales was moved or renamed meanwhile: it is now yourdomain.com › Trade." in words_of(
        response
    )
    assert "reason=Typed" in response.content.decode()


def test_a_unit_that_was_deleted_meanwhile_is_told_and_the_reason_kept(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    [unit, *_others] = create_units(organisation.sales, "Branch")
    data = {**hidden(ask_to_move(client, owner, unit)), "reason": "Typed"}
    delete_unit(actor=SYSTEM, unit=unit)
    response = client.post(page_of(owner, MOVE), data)
    assert response.status_code == 409
    assert "Branch 0 was deleted meanwhile" in words_of(response)
    assert f"?to={organisation.sales.pk}&amp;reason=Typed" in response.content.decode()
    chosen = client.get(page_of(owner, MOVE), {"to": organisation.sales.pk, "reason": "Typed"})
    assert 'value="Typed"' in chosen.content.decode()


def test_a_unit_that_one_no_longer_manages_is_told_only_to_who_was_shown_it(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    [unit, *_others] = create_units(organisation.sales, "Branch")
    data = hidden(ask_to_move(client, owner, unit))
    move_unit(actor=SYSTEM, unit=unit, parent=organisation.support_unit)
    told = client.post(page_of(owner, MOVE), data)
    assert "You no longer manage Branch 0" in words_of(told)
    data["seen_unit"] = ""
    guessed = client.post(page_of(owner, MOVE), data)
    assert "Branch 0" not in words_of(guessed)
    assert "There is no such unit among those that you manage" in words_of(guessed)
    assert (told.status_code, guessed.status_code) == (409, 409)


@pytest.mark.parametrize("name", [SUSPEND, MOVE])
def test_a_form_of_an_account_that_is_out_of_reach_now_comes_back(
    client: Client, users_admin: User, owner: User, organisation: Organisation, name: str
) -> None:
    client.force_login(users_admin)
    move_user(actor=SYSTEM, user=owner, unit=organisation.support_unit)
    data = {"reason": "Typed", "unit_id": organisation.partner_desk.pk, "to": organisation.sales.pk}
    response = client.post(page_of(owner, name), data)
    assert response.status_code == 404
    words = words_of(response)
    assert "is not, or no longer, among those that you manage" in words
    assert "Nothing was done." in words
    assert 'value="Typed"' in response.content.decode()
    owner.refresh_from_db()
    assert (owner.suspended, owner.unit_id) == (False, organisation.support_unit.pk)


def test_who_lost_the_privilege_does_nothing_any_more(
    client: Client, users_admin: User, owner: User
) -> None:
    client.force_login(users_admin)
    role = users_admin.roles.get()
    change_privileges(actor=SYSTEM, assignment=role, privileges=["mail_settings"])
    assert client.post(page_of(owner, SUSPEND)).status_code == 404
    owner.refresh_from_db()
    assert not owner.suspended


def test_the_number_of_queries_does_not_grow(
    client: Client, users_admin: User, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    target = {"to": organisation.sales.pk}
    pages = [
        (reverse("console:accounts"), {}),
        (page_of(owner), {}),
        (page_of(owner, SUSPEND), {}),
        (page_of(owner, MOVE), {}),
        (page_of(owner, MOVE), target),
    ]

    def counts() -> list[int]:
        return [count_queries(lambda p=page: client.get(*p)) for page in pages]

    make_accounts(organisation.sales, range(10))
    create_units(organisation.sales, "One")
    save_value(user=super_admin, unit=organisation.sales)
    make_message(owner)
    ten = counts()
    make_accounts(organisation.partner_desk, range(10, 20))
    create_units(organisation.partner_desk, "Two")
    make_message(owner)
    for setting, value, _told in OTHER_SETTINGS:
        save_value(user=super_admin, unit=organisation.sales, setting=setting, value=value)
    save_value(user=super_admin, unit=organisation.partner_desk, value=OFF)
    for user in User.objects.filter(name="Person 3"):
        suspend_user(actor=SYSTEM, user=user)
    assert counts() == ten

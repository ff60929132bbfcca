"""The units: looking at them, and creating, renaming, moving and deleting one."""

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, OrgUnit, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_unit, delete_unit, move_unit, rename_unit
from accounts.services.people import create_user, move_user, suspend_user
from accounts.services.roles import assign_role, remove_role
from policies.models import AppliedPolicy, GatewayPolicy, PolicyChange
from tests.conftest import Organisation
from tests.console.rows import (
    OFF,
    OTHER_SETTINGS,
    apply_waves,
    count_queries,
    create_units,
    save_value,
)
from tests.console.test_account_actions import hidden, words_of
from tests.console.test_accounts import make_accounts
from tests.console.test_gateway_page import wait_for_a_blocked_save

UNIT, NEW, RENAME, MOVE, DELETE = (
    f"console:{name}" for name in ("unit", "unit_create", "unit_rename", "unit_move", "unit_delete")
)


def url_of(unit: OrgUnit, name: str = UNIT) -> str:
    return reverse(name, args=[unit.pk])


class Form:
    """A page as somebody has it open."""

    def __init__(self, client: Client, name: str, unit: OrgUnit, to: OrgUnit | None = None) -> None:
        self.client, self.url = client, url_of(unit, name)
        self.shown = client.get(self.url, {"to": to.pk} if to else {})
        self.fields = hidden(self.shown)

    def post(self, *, follow: bool = False, **typed: str) -> HttpResponse:
        return self.client.post(self.url, {**self.fields, **typed}, follow=follow)


def names() -> list[str]:
    return sorted(OrgUnit.objects.values_list("name", flat=True))


def detached(unit: OrgUnit) -> bool:
    """Whether the tree is whole, and the unit gone."""
    assert OrgUnit.objects.find_problems() == ([], [], [], [], [])
    return not OrgUnit.objects.filter(pk=unit.pk).exists()


def test_a_unit_is_shown_with_what_is_in_it_and_what_can_be_done(
    client: Client, super_admin: User, owner: User, colleague: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    response = client.get(url_of(organisation.sales))
    words = words_of(response)
    assert "Accounts in it 0 With all below 2 Units below it 1" in words
    html = response.content.decode()
    for name in (NEW, RENAME, MOVE, DELETE):
        assert f'href="{url_of(organisation.sales, name)}"' in html
    assert url_of(organisation.partner_desk) in html
    root = client.get(reverse("console:units")).content.decode()
    assert url_of(organisation.root, NEW) in root
    assert url_of(organisation.root, MOVE) not in root
    assert url_of(organisation.root, DELETE) not in root
    below = client.get(url_of(organisation.sales, "console:unit_below"))
    assert url_of(organisation.partner_desk) in below.content.decode()


def test_who_manages_accounts_sees_his_units_and_who_may_change_them(
    client: Client, users_admin: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    response = client.get(reverse("console:units"))
    assert "Super administrators create, rename, move and delete units." in words_of(response)
    html = response.content.decode()
    assert url_of(organisation.support_unit) not in html
    assert url_of(organisation.sales, RENAME) not in html
    assert "Mail settings of this unit" not in html
    assert client.get(url_of(organisation.support_unit)).status_code == 404


def test_a_unit_is_created_below_another(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    form = Form(client, NEW, organisation.sales)
    assert "inherits every setting until it is given values of its own" in words_of(form.shown)
    response = form.post(name=" Tokyo ", follow=True)
    assert "Tokyo stands below Sales now." in words_of(response)
    created = OrgUnit.objects.get(name="Tokyo")
    assert OrgUnit.objects.get_parent(created) == organisation.sales
    event = AuditEvent.objects.get(name="unit_created", target__endswith="Tokyo")
    assert event.actor_id == super_admin.pk


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("", "Give the unit a name."),
        ("  ", "Give the unit a name."),
        ("partner DESK", "A unit of this name stands there already"),
        ("x" * 256, "A name is one line of at most 255 characters."),
        ("a\tb", "A name is one line of at most 255 characters."),
    ],
)
@pytest.mark.parametrize("name", [NEW, RENAME])
def test_an_unfit_name_is_refused_and_kept(
    client: Client, super_admin: User, organisation: Organisation, name: str, typed: str, told: str
) -> None:
    client.force_login(super_admin)
    other = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    before = names()
    response = Form(client, name, organisation.sales if name == NEW else other).post(name=typed)
    assert told in words_of(response)
    assert f'value="{typed.strip()}"' in response.content.decode() or not typed.strip()
    assert names() == before


def test_a_unit_is_renamed(client: Client, super_admin: User, organisation: Organisation) -> None:
    client.force_login(super_admin)
    form = Form(client, RENAME, organisation.sales)
    assert 'value="Sales"' in form.shown.content.decode()
    assert "The unit is called Trade now." in words_of(form.post(name="Trade", follow=True))
    again = Form(client, RENAME, organisation.sales)
    again.post(name="TRADE")
    again = Form(client, RENAME, organisation.sales)
    again.post(name="TRADE")
    events = AuditEvent.objects.filter(name="unit_renamed").order_by("id")
    assert [event.details["new"] for event in events] == [
        "yourdomain.com › Trade",
        "yourdomain.com › TRADE",
    ]


def test_before_a_unit_moves_the_page_counts_for_whom_which_setting_changes(
    client: Client,
    super_admin: User,
    owner: User,
    colleague: User,
    stranger: User,
    organisation: Organisation,
) -> None:
    """By what has reached each cohort; and afterwards it is so."""
    User.objects.filter(pk=owner.pk).update(cohort=1)
    User.objects.filter(pk=colleague.pk).update(cohort=12)
    below = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.partner_desk)
    person = create_user(actor=SYSTEM, primary_address="tokyo@yourdomain.com", name="T", unit=below)
    User.objects.filter(pk=person.pk).update(cohort=12)
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 4)
    apply_waves(save_value(user=super_admin, unit=below, value=OFF), 13)
    for setting, value, _told in OTHER_SETTINGS:
        change = save_value(
            user=super_admin, unit=organisation.support_unit, setting=setting, value=value
        )
        apply_waves(change, 13)
    hold = save_value(
        user=super_admin, unit=below, setting=OTHER_SETTINGS[2][0], value=OTHER_SETTINGS[2][1]
    )
    apply_waves(hold, 13)
    client.force_login(super_admin)
    form = Form(client, MOVE, organisation.partner_desk, organisation.support_unit)
    words = words_of(form.shown)
    after = "After the move, at once"
    assert f"Per-user outbound gateways Now On {after} Off Mail from addresses" in words
    assert "on behalf of the primary address. Accounts 1 Setting" in words
    assert f"Servers Now all {after} not smtp.forbidden.example Accounts 3" in words
    assert f"does not work Now Refuse the message {after} Hold it and try again Accounts 2" in words
    relay = "Now the relay of this installation"
    assert f"{relay} {after} archive.example:25 without encryption Accounts 3" in words
    assert "3 accounts go with it; settings change for 3 of them." in words
    assert "1 unit below goes with it." in words
    moved = form.post(reason="Reorganised", follow=True)
    assert "Partner desk stands below Support now." in words_of(moved)
    event = AuditEvent.objects.get(name="unit_moved")
    assert event.details == {
        "old": "yourdomain.com › Sales › Partner desk",
        "new": "yourdomain.com › Support › Partner desk",
        "reason": "Reorganised",
    }
    told = words_of(client.get(reverse("console:account", args=[colleague.pk])))
    assert "Value archive.example:25 without encryption" in told
    back = words_of(Form(client, MOVE, organisation.partner_desk, organisation.sales).shown)
    assert f"Per-user outbound gateways Now Off {after} On Addresses that have an own" in back


def test_a_move_without_any_effect_on_mail_says_so(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    form = Form(client, MOVE, organisation.partner_desk, organisation.support_unit)
    words = words_of(form.shown)
    assert "1 account goes with it. No setting changes for it." in words
    assert "<table" not in form.shown.content.decode()


def test_a_unit_is_offered_neither_itself_nor_what_is_below_nor_where_it_stands(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    html = client.get(url_of(organisation.sales, MOVE)).content.decode()
    assert f"?to={organisation.support_unit.pk}" in html
    for unit in (organisation.root, organisation.sales, organisation.partner_desk):
        assert f"?to={unit.pk}" not in html
    for unit in (organisation.sales, organisation.partner_desk):
        refused = client.post(url_of(organisation.sales, MOVE), {"to": unit.pk})
        assert refused.status_code == 409
        assert "A unit can't be moved into itself or below itself." in words_of(refused)
    root = client.get(url_of(organisation.root, MOVE))
    assert "The topmost unit stays where it is" in words_of(root)
    for to in ("", "word", "9" * 40):
        assert client.post(url_of(organisation.sales, MOVE), {"to": to}).status_code == 200


def test_a_place_with_a_unit_of_that_name_is_refused(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    create_unit(actor=SYSTEM, name="Partner desk", parent=organisation.support_unit)
    form = Form(client, MOVE, organisation.partner_desk, organisation.support_unit)
    response = form.post(reason="Typed")
    assert response.status_code == 409
    assert "A unit of this name stands there already" in words_of(response)
    assert 'value="Typed"' in response.content.decode()


def test_an_empty_unit_is_deleted_with_what_is_set_for_it(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    unit = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    change = save_value(user=super_admin, unit=unit)
    apply_waves(change, 3)
    form = Form(client, DELETE, unit)
    assert "Its own values go with it: Per-user outbound gateways." in words_of(form.shown)
    response = form.post(reason="Closed", follow=True)
    assert "Tokyo is deleted." in words_of(response)
    assert response.redirect_chain[-1][0] == url_of(organisation.sales)
    assert detached(unit)
    assert not GatewayPolicy.objects.filter(unit_id=unit.pk).exists()
    assert not AppliedPolicy.objects.filter(unit_id=unit.pk).exists()
    assert PolicyChange.objects.filter(pk=change.pk).exists()
    event = AuditEvent.objects.get(name="unit_deleted")
    assert (event.target, event.details) == ("yourdomain.com › Sales › Tokyo", {"reason": "Closed"})
    shown = words_of(client.get(reverse("console:audit")))
    assert "Unit deleted" in shown
    assert client.get(reverse("console:rollout", args=[change.pk])).status_code == 200


def test_what_stands_in_a_unit_keeps_it(
    client: Client, super_admin: User, unit_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    suspend_user(actor=SYSTEM, user=owner)
    response = client.get(url_of(organisation.sales, DELETE))
    told = (
        "1 unit stands below it. Move or delete that first. 1 account is in it, suspended or not. "
        "Move it to another unit first. 1 administrator has a role for it. Take that role away "
        "first."
    )
    assert f"Sales can’t be deleted yet {told}" in words_of(response)
    assert b'<button class="btn btn-outline-danger' not in response.content
    for unit in (organisation.sales, organisation.partner_desk, organisation.root):
        assert client.post(url_of(unit, DELETE)).status_code == 409
    assert len(names()) == 4


@pytest.mark.django_db(transaction=True)
def test_an_account_that_comes_while_its_unit_is_being_deleted_keeps_it(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    unit = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    client.force_login(super_admin)
    form, answers = Form(client, DELETE, unit), []

    def delete() -> None:
        answers.append(form.post())
        connection.close()

    deleting = threading.Thread(target=delete)
    with transaction.atomic():
        move_user(actor=SYSTEM, user=owner, unit=unit)
        deleting.start()
        wait_for_a_blocked_save()
    deleting.join()
    assert answers[0].status_code == 409
    assert "1 account is in it" in words_of(answers[0])
    assert not detached(unit)


FORMS: list[tuple[str, dict[str, str]]] = [
    (NEW, {"name": "Typed before"}),
    (RENAME, {"name": "Typed before"}),
    (MOVE, {"reason": "Typed before"}),
    (DELETE, {"reason": "Typed before"}),
]


def opened(client: Client, name: str, unit: OrgUnit, organisation: Organisation) -> Form:
    return Form(client, name, unit, organisation.support_unit if name == MOVE else None)


@pytest.mark.parametrize(("name", "typed"), FORMS)
def test_the_form_of_a_unit_that_was_deleted_meanwhile_is_given_back(
    client: Client, super_admin: User, organisation: Organisation, name: str, typed: dict[str, Any]
) -> None:
    client.force_login(super_admin)
    unit = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    form = opened(client, name, unit, organisation)
    delete_unit(actor=SYSTEM, unit=unit)
    before = names()
    response = form.post(**typed)
    assert response.status_code == 404
    assert "Tokyo no longer exists" in words_of(response)
    assert 'value="Typed before"' in response.content.decode()
    assert names() == before
    assert client.get(form.url).status_code == 404


@pytest.mark.parametrize(("name", "typed"), FORMS)
def test_what_was_renamed_or_moved_meanwhile_is_shown_as_it_is_now(
    client: Client, super_admin: User, organisation: Organisation, name: str, typed: dict[str, Any]
) -> None:
    client.force_login(super_admin)
    unit = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    for change in (
        lambda: rename_unit(actor=SYSTEM, unit=unit, name="Osaka"),
        lambda: move_unit(actor=SYSTEM, unit=unit, parent=organisation.root),
    ):
        form = opened(client, name, unit, organisation)
        change()
        events = AuditEvent.objects.count()
        response = form.post(**typed)
        assert response.status_code == 409
        assert "was moved or renamed meanwhile: it is now yourdomain.com › " in words_of(response)
        assert 'value="Typed before"' in response.content.decode()
        assert AuditEvent.objects.count() == events
    form.fields = hidden(response)
    assert form.post(**typed).status_code == 302


@pytest.mark.parametrize("is_moved", [True, False])
def test_the_place_that_was_changed_meanwhile_is_shown_again(
    client: Client, super_admin: User, organisation: Organisation, is_moved: bool
) -> None:
    client.force_login(super_admin)
    place = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    form = Form(client, MOVE, organisation.partner_desk, place)
    if is_moved:
        move_unit(actor=SYSTEM, unit=place, parent=organisation.support_unit)
    else:
        delete_unit(actor=SYSTEM, unit=place)
    response = form.post(reason="Typed")
    assert response.status_code == 409
    told = (
        "it is now yourdomain.com › Support › Tokyo" if is_moved else "Tokyo was deleted meanwhile"
    )
    assert told in words_of(response)
    assert "Typed" in response.content.decode()
    desk = OrgUnit.objects.get(pk=organisation.partner_desk.pk)
    assert OrgUnit.objects.get_parent(desk) == organisation.sales


@pytest.mark.parametrize(("name", "typed"), FORMS)
def test_who_lost_the_role_meanwhile_has_his_form_back(
    client: Client,
    super_admin: User,
    colleague: User,
    organisation: Organisation,
    name: str,
    typed: dict[str, Any],
) -> None:
    assign_role(actor=SYSTEM, user=colleague, role=RoleAssignment.Role.SUPER_ADMIN)
    client.force_login(super_admin)
    unit = create_unit(actor=SYSTEM, name="Tokyo", parent=organisation.sales)
    form = opened(client, name, unit, organisation)
    remove_role(actor=SYSTEM, assignment=super_admin.roles.get())
    before = names()
    response = form.post(**typed)
    assert response.status_code == 403
    assert "You no longer administer Tokyo" in words_of(response)
    assert 'value="Typed before"' in response.content.decode()
    form.fields["seen_unit"] = ""
    assert form.post(**typed).status_code == 404
    assert names() == before


def test_the_number_of_queries_does_not_grow_with_units_or_accounts(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    desk = organisation.partner_desk
    pages: list[tuple[str, dict[str, int]]] = [
        (url_of(organisation.sales), {}),
        (url_of(organisation.sales, RENAME), {}),
        (url_of(organisation.sales, DELETE), {}),
        (url_of(desk, MOVE), {}),
        (url_of(desk, MOVE), {"to": organisation.support_unit.pk}),
    ]

    def counts() -> list[int]:
        return [count_queries(lambda p=page: client.get(*p)) for page in pages]

    create_units(organisation.sales, "One")
    make_accounts(desk, range(10))
    save_value(user=super_admin, unit=organisation.sales)
    few = counts()
    for unit in create_units(desk, "Two"):
        apply_waves(save_value(user=super_admin, unit=unit, value=OFF), 13)
    make_accounts(organisation.sales, range(10, 20))
    make_accounts(OrgUnit.objects.get(name="Two 3"), range(20, 30))
    for setting, value, _told in OTHER_SETTINGS:
        apply_waves(save_value(user=super_admin, unit=desk, setting=setting, value=value), 13)
    assert counts() == few

"""A save whose unit was deleted or moved, or whose author lost the right to it, meanwhile."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, OrgUnit, Privilege, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import move_unit
from accounts.services.roles import assign_role, remove_role
from policies.models import GatewayPolicy, PolicyChange
from tests.conftest import Organisation
from tests.console.rows import save_value, text_of
from tests.console.test_gateway_page import wait_for_a_blocked_save

GATEWAY_PAGE, FAILURE, OUTBOUND = "console:mail_advanced", "console:failure", "console:outbound"
TYPED: dict[str, dict[str, str]] = {
    GATEWAY_PAGE: {"choice": "override", "allowed": "on"},
    FAILURE: {"choice": "override", "on_failure": "hold"},
    OUTBOUND: {
        "choice": "override", "use": "own", "host": "relay.example.com", "port": "2525",
        "security_mode": "ssl", "username": "ours", "password": "not-to-be-shown",
    },
}  # fmt: skip
PAGES = list(TYPED)
EITHER = "This unit no longer exists, or you may not change it any more."


class Form:
    """A page as somebody has it open, filled in."""

    def __init__(self, client: Client, page: str, unit: OrgUnit) -> None:
        self.client, self.url = client, reverse(page, args=[unit.pk])
        html = client.get(self.url).content.decode()
        self.fields = {**TYPED[page], "reason": "Typed before", **hidden_fields(html)}

    def post(self, **fields: str) -> HttpResponse:
        return self.client.post(self.url, {**self.fields, **fields})


def hidden_fields(html: str) -> dict[str, str]:
    pairs = re.findall(r'<input type="hidden" name="(based_on|seen_unit)" value="([^"]*)"', html)
    assert [name for name, _value in pairs] == ["based_on", "seen_unit"]
    return dict(pairs)


def saved() -> tuple[int, int, int]:
    return (
        PolicyChange.objects.count(),
        GatewayPolicy.objects.count(),
        AuditEvent.objects.filter(name__startswith="policy").count(),
    )


def delete(unit: OrgUnit) -> None:
    OrgUnit.objects.get(pk=unit.pk).delete()


def assert_kept_without_actions(response: HttpResponse, page: str) -> None:
    html = response.content.decode()
    main = html[html.index("<main") :]
    assert 'value="Typed before"' in main
    assert "<button" not in main
    assert "<form" not in main
    assert "not-to-be-shown" not in html
    if page == GATEWAY_PAGE:
        assert re.search(r'<input type="checkbox" name="allowed"[^>]* checked', main)
    elif page == FAILURE:
        assert re.search(r'value="hold"[^>]* checked', main)
    else:
        for value in ("relay.example.com", "2525", "ours"):
            assert f'value="{value}"' in main
        assert re.search(r'<option value="ssl" selected', main)
    assert re.search(r'value="override"[^>]* checked', main)


@pytest.mark.parametrize("page", PAGES)
def test_the_form_of_a_deleted_unit_is_given_back(
    client: Client, super_admin: User, organisation: Organisation, page: str
) -> None:
    client.force_login(super_admin)
    form = Form(client, page, organisation.partner_desk)
    delete(organisation.partner_desk)
    before = saved()
    response = form.post()
    assert response.status_code == 404
    assert "Partner desk no longer exists" in text_of(response)
    assert "Nothing was saved" in text_of(response)
    assert_kept_without_actions(response, page)
    assert saved() == before
    assert client.get(form.url).status_code == 404


@pytest.mark.parametrize("privileges", [[Privilege.REPORTS], []])
@pytest.mark.parametrize("page", PAGES)
def test_who_lost_the_right_meanwhile_has_the_form_back(
    client: Client,
    unit_admin: User,
    super_admin: User,
    organisation: Organisation,
    page: str,
    privileges: list[Privilege],
) -> None:
    client.force_login(unit_admin)
    form = Form(client, page, organisation.partner_desk)
    remove_role(actor=SYSTEM, assignment=unit_admin.roles.get())
    if privileges:
        role = RoleAssignment.Role.UNIT_ADMIN
        assign_role(
            actor=SYSTEM,
            user=unit_admin,
            role=role,
            unit=organisation.support_unit,
            privileges=privileges,
        )
    OrgUnit.objects.filter(pk=organisation.partner_desk.pk).update(name="Secret name")
    save_value(user=super_admin, unit=organisation.partner_desk)
    before = saved()
    response = form.post()
    assert response.status_code == 403
    words = text_of(response)
    assert "You no longer administer Partner desk" in words
    assert "A super administrator can save it" in words
    assert_kept_without_actions(response, page)
    for hidden in ("Secret name", "Sales", "yourdomain.com ›", super_admin.name):
        assert hidden not in words
    overview = f'href="{reverse("console:overview")}"'
    assert (overview in response.content.decode()) == bool(privileges)
    assert saved() == before
    assert client.get(form.url).status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_a_forged_form_learns_nothing_of_the_unit(
    client: Client, unit_admin: User, super_admin: User, organisation: Organisation, page: str
) -> None:
    client.force_login(super_admin)
    anothers = Form(client, page, organisation.support_unit).fields
    client.force_login(unit_admin)
    own = Form(client, page, organisation.sales).fields
    there = reverse(page, args=[organisation.support_unit.pk])
    nowhere = reverse(page, args=[organisation.support_unit.pk + 1000])
    before = saved()
    for fields in (anothers, own, {**own, "seen_unit": ""}, {**own, "seen_unit": "a:b:c"}):
        answers = [client.post(url, fields) for url in (there, nowhere)]
        assert [each.status_code for each in answers] == [404, 404]
        assert len({text_of(each) for each in answers}) == 1
        assert EITHER in text_of(answers[0])
        assert "Support" not in text_of(answers[0])
        assert_kept_without_actions(answers[0], page)
    assert saved() == before


@pytest.mark.parametrize("name", ["owner", "support"])
def test_who_never_administered_anything_gets_no_form(
    client: Client,
    unit_admin: User,
    organisation: Organisation,
    request: pytest.FixtureRequest,
    name: str,
) -> None:
    client.force_login(unit_admin)
    form = Form(client, FAILURE, organisation.sales)
    client.force_login(request.getfixturevalue(name))
    response = form.post()
    assert response.status_code == 404
    assert "Typed before" not in response.content.decode()


@pytest.mark.parametrize("page", [GATEWAY_PAGE, FAILURE])
def test_a_unit_moved_meanwhile_is_told_and_saved_the_second_time(
    client: Client, super_admin: User, organisation: Organisation, page: str
) -> None:
    client.force_login(super_admin)
    save_value(user=super_admin, unit=organisation.support_unit)
    form = Form(client, page, organisation.partner_desk)
    move_unit(actor=SYSTEM, unit=organisation.partner_desk, parent=organisation.support_unit)
    before = saved()
    response = form.post()
    assert response.status_code == 409
    words = text_of(response)
    assert "Partner desk was moved while you were here" in words
    assert "It now stands at yourdomain.com › Support › Partner desk." in words
    assert (
        "What it inherits there, from Support: On."
        if page == GATEWAY_PAGE
        else "No unit above sets the value there, so by default: Refuse the message."
    ) in words
    html = response.content.decode()
    assert 'value="Typed before"' in html
    assert saved() == before
    answer = form.post(**hidden_fields(html))
    assert "saved=" in answer["Location"]
    assert PolicyChange.objects.count() == before[0] + 1


def test_a_refused_form_still_tells_of_the_move_when_it_is_mended(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    form = Form(client, FAILURE, organisation.partner_desk)
    refused = form.post(on_failure="")
    assert refused.status_code == 200
    move_unit(actor=SYSTEM, unit=organisation.partner_desk, parent=organisation.support_unit)
    again = form.post(**hidden_fields(refused.content.decode()))
    assert again.status_code == 409
    assert not PolicyChange.objects.exists()


def test_a_unit_moved_out_of_reach_is_not_told_of(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    form = Form(client, GATEWAY_PAGE, organisation.partner_desk)
    move_unit(actor=SYSTEM, unit=organisation.partner_desk, parent=organisation.support_unit)
    response = form.post()
    assert response.status_code == 403
    assert "You no longer administer Partner desk" in text_of(response)
    assert "Support" not in text_of(response)


def test_the_guardrails_inherited_in_the_new_place_are_told(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    """And ports that only the form of that unit offered are given back when it is gone."""
    client.force_login(super_admin)
    url = reverse("console:guardrails", args=[organisation.partner_desk.pk])
    hidden = hidden_fields(client.get(url).content.decode())
    typed: dict[str, Any] = {
        **hidden, "connection_choice": "override", "connection_ports": ["587", "4465"]
    }  # fmt: skip
    move_unit(actor=SYSTEM, unit=organisation.partner_desk, parent=organisation.support_unit)
    response = client.post(url, typed)
    assert response.status_code == 409
    assert "What it inherits there: None." in text_of(response)
    delete(organisation.partner_desk)
    response = client.post(url, typed)
    assert response.status_code == 404
    assert re.search(r'value="4465"[^>]* checked', response.content.decode())


def test_of_the_topmost_unit_no_choice_is_given_back_that_its_form_has_not(
    client: Client, stranger: User, organisation: Organisation
) -> None:
    role = assign_role(
        actor=SYSTEM,
        user=stranger,
        role=RoleAssignment.Role.UNIT_ADMIN,
        unit=organisation.root,
        privileges=[Privilege.MAIL_SETTINGS],
    )
    client.force_login(stranger)
    form = Form(client, FAILURE, organisation.root)
    del form.fields["choice"]
    remove_role(actor=SYSTEM, assignment=role)
    response = form.post()
    assert response.status_code == 403
    assert 'name="on_failure"' in response.content.decode()
    assert 'name="choice"' not in response.content.decode()


def test_what_is_asked_beside_the_form_stays_not_found(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    form = Form(client, FAILURE, organisation.partner_desk)
    delete(organisation.partner_desk)
    assert "Typed before" not in form.post(see="file").content.decode()
    asked = client.post(form.url, form.fields | {"see": "changes"}, headers={"HX-Request": "true"})
    assert asked.status_code == 404
    assert "Typed before" not in asked.content.decode()


def move_to_support(unit: OrgUnit) -> None:
    move_unit(actor=SYSTEM, unit=unit, parent=OrgUnit.objects.get(name="Support"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", [GATEWAY_PAGE, FAILURE])
@pytest.mark.parametrize(
    ("happens", "status", "told"),
    [
        (delete, 404, "Partner desk no longer exists"),
        (move_to_support, 409, "Partner desk was moved while you were here"),
    ],
)
def test_what_happens_while_the_save_waits_is_told_as_well(
    client: Client,
    super_admin: User,
    organisation: Organisation,
    page: str,
    happens: Callable[[OrgUnit], None],
    status: int,
    told: str,
) -> None:
    client.force_login(super_admin)
    form = Form(client, page, organisation.partner_desk)
    answers: list[HttpResponse] = []

    def save() -> None:
        answers.append(form.post())
        connections.close_all()

    saving = threading.Thread(target=save)
    with transaction.atomic():
        OrgUnit.objects.select_for_update().get(pk=organisation.partner_desk.pk)
        saving.start()
        wait_for_a_blocked_save()
        happens(organisation.partner_desk)
    saving.join(10)
    assert answers[0].status_code == status
    assert told in text_of(answers[0])
    assert 'value="Typed before"' in answers[0].content.decode()
    assert "field-error" not in answers[0].content.decode()
    assert saved() == (0, 0, 0)

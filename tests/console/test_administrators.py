import pytest
from django.urls import reverse

from accounts.models import RoleAssignment
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_unit
from accounts.services.people import create_user
from accounts.services.roles import assign_role
from tests.console.rows import count_queries, text_of

LIST = "/console/administrators/"
GIVEN = {
    "address": "user@yourdomain.com",
    "role": "unit_admin",
    "unit": "sales",
    "privileges": ["mail_settings", "reports"],
}


@pytest.fixture
def client(client, super_admin):
    client.force_login(super_admin)
    return client


def page_of(assignment):
    return reverse("console:role", args=[assignment.pk])


def test_a_role_is_given_seen_changed_and_taken_away(client, owner, organisation):
    assert client.post(LIST, GIVEN).url == LIST
    words = text_of(client.get(LIST))
    assert "Yuki Tanaka has the role now: Administrator of a unit and below." in words
    assert "Mail settings, Reports" in words
    assert "yourdomain.com › Sales" in words
    given = owner.roles.get()
    assert client.get(page_of(given)).content.decode().count("checked") == 2
    assert client.post(page_of(given), {"privileges": ["users"]}).url == LIST
    given.refresh_from_db()
    assert given.privileges == ["users"]
    assert "Take this role away from Yuki Tanaka?" in text_of(
        client.get(page_of(given) + "?remove")
    )
    assert client.post(page_of(given), {"remove": ""}).url == LIST
    assert not owner.roles.exists()
    assert "no longer has the role" in text_of(client.get(LIST))


def test_a_role_without_unit_ignores_what_stands_in_its_fields(client, owner):
    client.post(LIST, GIVEN | {"role": "support"})
    given = owner.roles.get()
    assert (given.unit, given.privileges) == (None, [])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"address": "nobody@yourdomain.com"}, "No account has the primary address nobody@"),
        ({"address": ""}, "Type the primary address of the account."),
        ({"role": ""}, "Choose one of the roles."),
        ({"unit": "Nowhere"}, "No unit is called “Nowhere”."),
        ({"unit": "Support › Sales"}, "No unit is called “Support › Sales”."),
        ({"unit": ""}, "Name the unit that this administrator is for."),
        ({"privileges": []}, "Choose at least one privilege."),
        ({"address": "sales-admin@yourdomain.com"}, "has this role already"),
        ({"address": "guest@elsewhere.example"}, "outside the organisation"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_typed_is_lost(
    client, owner, unit_admin, organisation, data, told
):
    create_user(
        actor=SYSTEM, primary_address="guest@elsewhere.example", name="G", unit=organisation.root
    )
    response = client.post(LIST, GIVEN | data)
    assert response.status_code == 200
    assert told in text_of(response)
    html = response.content.decode()
    for name in ("address", "unit"):
        assert f'value="{(GIVEN | data)[name]}"' in html or not (GIVEN | data)[name]
    assert RoleAssignment.objects.count() == 2


def test_a_name_that_two_units_have_is_asked_for_with_its_path(client, owner, organisation):
    create_unit(actor=SYSTEM, name="Sales", parent=organisation.support_unit)
    words = text_of(client.post(LIST, GIVEN))
    assert "yourdomain.com › Sales; yourdomain.com › Support › Sales" in words
    client.post(LIST, GIVEN | {"unit": "yourdomain.com › Support › sales"})
    assert owner.roles.get().unit.name == "Sales"
    assert owner.roles.get().unit != organisation.sales


def test_the_last_super_administrator_is_told_why_not(client, super_admin):
    response = client.post(page_of(super_admin.roles.get()), {"remove": ""})
    assert response.status_code == 409
    assert "last super administrator" in text_of(response)
    assert super_admin.roles.exists()


def test_who_takes_it_from_himself_is_led_away(client, super_admin, owner):
    assign_role(actor=SYSTEM, user=owner, role="super_admin")
    response = client.post(page_of(super_admin.roles.get()), {"remove": ""}, follow=True)
    assert response.redirect_chain[-1][0] == "/settings/"
    assert client.get(LIST).status_code == 404


def test_without_a_privilege_nothing_is_saved(client, unit_admin):
    response = client.post(page_of(unit_admin.roles.get()), {})
    assert "Choose at least one privilege, or take the role away" in text_of(response)
    assert unit_admin.roles.get().privileges == ["mail_settings"]


def test_what_a_role_cannot_have_is_refused(client, support):
    response = client.post(page_of(support.roles.get()), {"privileges": ["users"]})
    assert "the other roles have neither" in text_of(response)
    assert support.roles.get().privileges == []


def test_the_list_is_searched_by_person_and_unit(client, unit_admin, support):
    assert "Emre Aydin" in text_of(client.get(LIST, {"q": "emre"}))
    found = text_of(client.get(LIST, {"q": "sales"}))
    assert "Emre Aydin" in found
    assert "Sam Oduya" not in found
    assert "Nobody with a role fits “Zoe”" in text_of(client.get(LIST, {"q": "Zoe"}))


def test_a_link_brings_the_unit_along(client, organisation):
    html = client.get(LIST, {"unit": organisation.sales.pk}).content.decode()
    assert 'value="yourdomain.com › Sales"' in html
    for strange in ("x", "-1", "9" * 30, "999999"):
        assert client.get(LIST, {"unit": strange}).status_code == 200


def test_the_list_costs_the_same_queries_with_more_rows(client, organisation):
    def give(numbers):
        for number in numbers:
            user = create_user(
                actor=SYSTEM,
                primary_address=f"p{number}@yourdomain.com",
                name="P",
                unit=organisation.root,
            )
            unit = create_unit(actor=SYSTEM, name=f"U{number}", parent=organisation.sales)
            assign_role(actor=SYSTEM, user=user, role="unit_admin", unit=unit, privileges=["users"])

    give(range(10))
    ten = count_queries(lambda: client.get(LIST))
    give(range(10, 20))
    assert count_queries(lambda: client.get(LIST)) == ten


@pytest.mark.parametrize("role", ["users_admin", "reports_admin"])
def test_who_has_no_mail_settings_sees_what_there_is_to_administer(client, role, request):
    client.force_login(request.getfixturevalue(role))
    words = text_of(client.get("/console/"))
    assert "What you administer" in words
    assert "yourdomain.com › Sales" in words
    assert LIST not in client.get("/console/").content.decode()

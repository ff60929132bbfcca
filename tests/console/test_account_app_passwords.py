"""Revoking the app passwords of an account, by who manages it."""

from django.test import Client

from accounts.models import AppPassword, AuditEvent, OrgUnit, User
from accounts.services.app_passwords import (
    authenticate_app_password,
    create_app_password,
    revoke_app_password,
)
from accounts.services.audit import SYSTEM
from accounts.services.people import move_user
from tests.conftest import Organisation
from tests.console.rows import count_queries
from tests.console.test_account_actions import hidden, words_of
from tests.console.test_accounts import page_of

PAGE = "console:account_app_passwords"


def make(user: User, *names: str) -> list[tuple[AppPassword, str]]:
    return [create_app_password(actor=SYSTEM, user=user, name=name) for name in names]


def usable(user: User) -> list[str]:
    return list(user.app_passwords.filter(revoked_at=None).values_list("name", flat=True))


def test_one_is_revoked_after_a_question(client: Client, users_admin: User, owner: User) -> None:
    [(laptop, secret), _phone] = make(owner, "Laptop", "Phone")
    assert authenticate_app_password(owner.primary_address, secret, peer="192.0.2.7")
    client.force_login(users_admin)
    url = page_of(owner, PAGE)
    assert f'href="{url}"' in client.get(page_of(owner)).content.decode()
    words = words_of(client.get(url))
    assert "Mail program Phone Created" in words
    assert "Last used Not yet Revoke… Phone" in words
    for private in (secret, "192.0.2"):
        assert private not in words
    asked = client.get(url, {"revoke": laptop.pk})
    assert "Revoke the app password for Laptop?" in words_of(asked)
    assert len(usable(owner)) == 2
    data = {**hidden(asked), "revoke": laptop.pk}
    done = client.post(url, data, follow=True)
    assert "The app password for Laptop is revoked." in words_of(done)
    assert usable(owner) == ["Phone"]
    assert authenticate_app_password(owner.primary_address, secret) is None
    event = AuditEvent.objects.get(name="app_password_revoked")
    assert (event.actor_id, event.target) == (users_admin.pk, owner.primary_address)
    assert event.details == {"app_password": "Laptop"}
    again = client.post(url, data, follow=True)
    assert "It was revoked already. Nothing was done." in words_of(again)
    assert AuditEvent.objects.filter(name="app_password_revoked").count() == 1


def test_all_are_revoked_at_once(
    client: Client, users_admin: User, owner: User, stranger: User
) -> None:
    [(old, _secret), *_others] = make(owner, "Old", "Laptop", "Phone")
    make(stranger, "Theirs")
    revoke_app_password(actor=SYSTEM, app_password=old)
    client.force_login(users_admin)
    url = page_of(owner, PAGE)
    asked = client.get(url, {"revoke": "all"})
    assert "Revoke all 2 app passwords?" in words_of(asked)
    done = client.post(url, {**hidden(asked), "revoke": "all"}, follow=True)
    words = words_of(done)
    assert f"2 app passwords of {owner.primary_address} are revoked." in words
    assert "No mail program can send" in words
    assert (usable(owner), usable(stranger)) == ([], ["Theirs"])
    events = AuditEvent.objects.filter(name="app_password_revoked", actor_id=users_admin.pk)
    assert sorted(each.details["app_password"] for each in events) == ["Laptop", "Phone"]
    assert "Revoke all" not in words_of(client.get(url, {"revoke": "all"}))


def test_those_of_other_accounts_are_not_reached(
    client: Client, users_admin: User, owner: User, stranger: User, unit_admin: User
) -> None:
    [(theirs, _secret)] = make(stranger, "Theirs")
    make(unit_admin, "Desk")
    client.force_login(users_admin)
    client.post(page_of(owner, PAGE), {"revoke": theirs.pk})
    assert client.get(page_of(stranger, PAGE)).status_code == 404
    url = page_of(unit_admin, PAGE)
    page = words_of(client.get(url, {"revoke": "all"}))
    assert "Only a super administrator can do this" in page
    assert "Desk" not in page
    assert client.post(url, {"revoke": "all"}).status_code == 409
    assert (usable(stranger), usable(unit_admin)) == (["Theirs"], ["Desk"])


def test_an_account_that_is_out_of_reach_now_keeps_them_and_the_page_says_so(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    make(owner, "Laptop")
    client.force_login(users_admin)
    url = page_of(owner, PAGE)
    data = {**hidden(client.get(url, {"revoke": "all"})), "revoke": "all"}
    out: OrgUnit = organisation.support_unit
    move_user(actor=SYSTEM, user=owner, unit=out)
    response = client.post(url, data)
    assert response.status_code == 404
    words = words_of(response)
    assert "is not, or no longer, among those that you manage" in words
    assert "What you typed" not in words
    assert usable(owner) == ["Laptop"]


def test_the_list_costs_the_same_for_many(client: Client, users_admin: User, owner: User) -> None:
    client.force_login(users_admin)
    make(owner, "Laptop")
    few = count_queries(lambda: client.get(page_of(owner, PAGE)))
    make(owner, *(f"Program {number}" for number in range(9)))
    assert count_queries(lambda: client.get(page_of(owner, PAGE))) == few

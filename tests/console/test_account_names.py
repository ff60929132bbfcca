"""Renaming an account, giving it aliases and taking them, by who manages it."""

import threading
from html import unescape

import pytest
from django.db import connection, transaction
from django.test import Client

from accounts.models import Alias, AuditEvent, User
from accounts.services.audit import SYSTEM
from accounts.services.people import add_alias, move_user, remove_alias, rename_user
from tests.conftest import Organisation
from tests.console.rows import count_queries
from tests.console.test_account_actions import hidden, words_of
from tests.console.test_accounts import page_of
from tests.console.test_gateway_page import wait_for_a_blocked_save

RENAME, ALIASES = "console:account_rename", "console:account_aliases"
ALIAS = "tanaka@yourdomain.com"


def test_an_account_is_renamed(client: Client, users_admin: User, owner: User) -> None:
    client.force_login(users_admin)
    url = page_of(owner, RENAME)
    assert f'href="{url}"' in client.get(page_of(owner)).content.decode()
    asked = client.get(url)
    assert 'value="Yuki Tanaka"' in asked.content.decode()
    data = {**hidden(asked), "name": " Yuki Sato "}
    done = client.post(url, data, follow=True)
    assert "user@yourdomain.com is called Yuki Sato now." in words_of(done)
    owner.refresh_from_db()
    assert owner.name == "Yuki Sato"
    client.post(url, data)
    event = AuditEvent.objects.get(name="account_renamed")
    assert event.actor_id == users_admin.pk
    assert event.details == {"old": "Yuki Tanaka", "new": "Yuki Sato"}
    for name, told in (("", "Give the account a name."), ("x" * 201, "at most 200 characters")):
        refused = client.post(url, {"name": name})
        assert told in words_of(refused)
        assert f'value="{name}"' in refused.content.decode() or not name
    owner.refresh_from_db()
    assert owner.name == "Yuki Sato"


def test_a_name_that_somebody_gave_meanwhile_is_not_overwritten_unseen(
    client: Client, users_admin: User, owner: User
) -> None:
    client.force_login(users_admin)
    url = page_of(owner, RENAME)
    opened = hidden(client.get(url))
    rename_user(actor=SYSTEM, user=owner, name="Yuki O'Hara")
    response = client.post(url, {**opened, "name": "Yuki Sato"})
    assert response.status_code == 409
    assert "renamed meanwhile: it is called Yuki O'Hara now" in words_of(response)
    assert 'value="Yuki Sato"' in response.content.decode()
    owner.refresh_from_db()
    assert owner.name == "Yuki O'Hara"
    assert client.post(url, {"name": "Yuki Sato"}).status_code == 409
    seen = {name: unescape(value) for name, value in hidden(response).items()}
    assert client.post(url, {**seen, "name": "Yuki Sato"}).status_code == 302
    owner.refresh_from_db()
    assert owner.name == "Yuki Sato"
    assert AuditEvent.objects.filter(name="account_renamed").count() == 2


def test_an_alias_is_added_and_removed_after_a_question(
    client: Client, users_admin: User, owner: User
) -> None:
    client.force_login(users_admin)
    url = page_of(owner, ALIASES)
    assert f'href="{url}"' in client.get(page_of(owner)).content.decode()
    shown = client.get(url)
    assert "It has no alias" in words_of(shown)
    added = client.post(url, {**hidden(shown), "address": "Tanaka@YourDomain.com"}, follow=True)
    assert f"{ALIAS} is an address of user@yourdomain.com now." in words_of(added)
    alias = owner.aliases.get()
    assert alias.address == ALIAS
    asked = client.get(url, {"remove": alias.pk})
    assert f"Remove {ALIAS}?" in words_of(asked)
    data = {**hidden(asked), "remove": alias.pk}
    removed = client.post(url, data, follow=True)
    assert f"{ALIAS} is no address of user@yourdomain.com any more." in words_of(removed)
    assert "was removed already" in words_of(client.post(url, data, follow=True))
    assert not owner.aliases.exists()
    events = AuditEvent.objects.filter(name__startswith="alias_").order_by("pk")
    assert [(each.name, each.details, each.actor_id) for each in events] == [
        ("alias_added", {"new": ALIAS}, users_admin.pk),
        ("alias_removed", {"old": ALIAS}, users_admin.pk),
    ]


@pytest.mark.django_db(transaction=True)
def test_an_alias_that_two_remove_at_once_is_removed_once(
    client: Client, users_admin: User, owner: User
) -> None:
    alias = add_alias(actor=SYSTEM, user=owner, address=ALIAS)
    client.force_login(users_admin)
    url, data, answers = page_of(owner, ALIASES), {"remove": str(alias.pk)}, []

    def remove() -> None:
        answers.append(client.post(url, data, follow=True))
        connection.close()

    removing = threading.Thread(target=remove)
    with transaction.atomic():
        remove_alias(actor=SYSTEM, alias=alias)
        removing.start()
        wait_for_a_blocked_save()
    removing.join()
    assert "was removed already" in words_of(answers[0])
    assert not owner.aliases.exists()
    assert AuditEvent.objects.filter(name="alias_removed").count() == 1


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "Type the further address that the account is to have."),
        ("tanaka", "@"),
        ("tanaka@partnerdomain.com", "The person can add it as an address to send from."),
        ("user@yourdomain.com", "belongs to an account already"),
        ("other@yourdomain.com", "belongs to an account already"),
    ],
)
def test_an_alias_that_cannot_be_is_refused_and_kept(
    client: Client, users_admin: User, owner: User, stranger: User, address: str, told: str
) -> None:
    add_alias(actor=SYSTEM, user=stranger, address="other@yourdomain.com")
    client.force_login(users_admin)
    response = client.post(page_of(owner, ALIASES), {"address": address})
    assert told in words_of(response)
    assert f'value="{address}"' in response.content.decode() or not address
    assert not owner.aliases.exists()


def test_aliases_of_others_and_accounts_with_a_role_are_not_reached(
    client: Client, users_admin: User, owner: User, stranger: User, unit_admin: User
) -> None:
    theirs = add_alias(actor=SYSTEM, user=stranger, address="other@yourdomain.com")
    client.force_login(users_admin)
    client.post(page_of(owner, ALIASES), {"remove": theirs.pk})
    name = unit_admin.name
    for page, data in ((ALIASES, {"address": ALIAS}), (RENAME, {"name": "Typed"})):
        assert client.get(page_of(stranger, page)).status_code == 404
        url = page_of(unit_admin, page)
        assert "Only a super administrator can do this" in words_of(client.get(url))
        assert client.post(url, data).status_code == 409
    unit_admin.refresh_from_db()
    assert unit_admin.name == name
    assert list(Alias.objects.values_list("address", flat=True)) == ["other@yourdomain.com"]


def test_what_was_typed_for_an_account_out_of_reach_now_comes_back(
    client: Client, users_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    move_user(actor=SYSTEM, user=owner, unit=organisation.support_unit)
    for page, data in ((ALIASES, {"address": ALIAS}), (RENAME, {"name": "Typed"})):
        response = client.post(page_of(owner, page), data)
        assert response.status_code == 404
        assert "is not, or no longer, among those that you manage" in words_of(response)
        [typed] = data.values()
        assert f'value="{typed}"' in response.content.decode()
    assert not owner.aliases.exists()


def test_the_list_costs_the_same_for_many(client: Client, users_admin: User, owner: User) -> None:
    client.force_login(users_admin)
    add_alias(actor=SYSTEM, user=owner, address=ALIAS)
    few = count_queries(lambda: client.get(page_of(owner, ALIASES)))
    for number in range(9):
        add_alias(actor=SYSTEM, user=owner, address=f"tanaka{number}@yourdomain.com")
    assert count_queries(lambda: client.get(page_of(owner, ALIASES))) == few

"""Creating an account, and mailing its owner the link to the first password."""

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Domain, Privilege, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain, delete_unit, rename_unit
from accounts.services.people import create_user
from accounts.services.roles import assign_role
from tests.accounts.test_create_administrator import choose_password
from tests.conftest import Organisation
from tests.console.rows import count_queries, create_units
from tests.console.test_account_actions import hidden, words_of
from tests.console.test_accounts import page_of
from tests.second_factors import SecondFactorClient

NEW = reverse("console:account_new")
ADDRESS = "mika.sato@yourdomain.com"
TYPED = {"primary_address": "Mika.Sato@YourDomain.com", "name": " Mika Sato "}
LINK = "console:account_mail_link"


def ask(client: Client, unit_id: int) -> dict[str, str]:
    return hidden(client.get(NEW, {"to": unit_id})) | {"to": str(unit_id)}


def test_an_account_is_created_and_its_owner_chooses_the_password(
    client: Client, users_admin: User, organisation: Organisation, mailoutbox: list
) -> None:
    client.force_login(users_admin)
    assert f'href="{NEW}"' in client.get(reverse("console:accounts")).content.decode()
    data = ask(client, organisation.partner_desk.pk) | TYPED
    response = client.post(NEW, data, follow=True)
    words = words_of(response)
    assert f"{ADDRESS} is created. A link to choose a password by was mailed to it." in words
    user = User.objects.get(primary_address=ADDRESS)
    assert (user.name, user.unit_id) == ("Mika Sato", organisation.partner_desk.pk)
    assert not user.has_usable_password()
    assert "no password is chosen yet" in words
    [sent] = mailoutbox
    assert sent.to == [ADDRESS]
    link = re.search(r"https?://[^/\s]+(/password/reset/\S+)", sent.body)[1]
    assert link not in response.content.decode()
    events = AuditEvent.objects.filter(target=ADDRESS).order_by("pk")
    assert [event.name for event in events] == ["account_created", "password_link_mailed"]
    assert {event.actor_id for event in events} == {users_admin.pk}
    assert not any(link in str(event.details) for event in events)
    client.logout()
    assert choose_password(client, link).url == "/password/reset/done/"
    user.refresh_from_db()
    assert user.has_usable_password()
    client.force_login(users_admin)
    again = client.post(page_of(user, LINK))
    assert again.status_code == 409
    assert "The person has chosen a password already" in words_of(again)
    assert len(mailoutbox) == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"primary_address": ""}, "Type the address that the account is to have."),
        ({"primary_address": "mika"}, "@"),
        ({"primary_address": "mika@other.example"}, "such as mika@yourdomain.com"),
        ({"primary_address": "mika@second.example"}, "Write mika@yourdomain.com."),
        ({"primary_address": "user@yourdomain.com"}, "belongs to an account already"),
        ({"name": " "}, "Give the account a name."),
        ({"name": "x" * 201}, "A name is one line of at most 200 characters."),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do_and_kept(
    client: Client, users_admin: User, owner: User, organisation: Organisation, typed, told
) -> None:
    domain = Domain.objects.get()
    create_domain(actor=SYSTEM, name="second.example", kind=Domain.Kind.ALIAS, alias_of=domain)
    client.force_login(users_admin)
    accounts = User.objects.count()
    data = ask(client, organisation.sales.pk) | TYPED | typed
    response = client.post(NEW, data)
    assert told in words_of(response)
    for value in (data["primary_address"], data["name"]):
        assert value.strip() in unescape(response.content.decode())
    assert (User.objects.count(), mail.outbox) == (accounts, [])


def test_of_a_mail_that_does_not_leave_the_administrator_hears_and_sends_it_again(
    client: Client, users_admin: User, organisation: Organisation, settings, mailoutbox
) -> None:
    client.force_login(users_admin)
    working = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    response = client.post(NEW, ask(client, organisation.sales.pk) | TYPED, follow=True)
    words = words_of(response)
    assert f"{ADDRESS} is created. The mail to {ADDRESS} did not leave" in words
    user = User.objects.get(primary_address=ADDRESS)
    assert page_of(user, LINK) in response.content.decode()
    refused = client.post(page_of(user, LINK), {"reason": "Typed"})
    assert refused.status_code == 409
    assert 'value="Typed"' in refused.content.decode()
    assert not AuditEvent.objects.filter(name="password_link_mailed").exists()
    settings.EMAIL_BACKEND = working
    sent = client.post(page_of(user, LINK), follow=True)
    assert f"A link to choose a password by was mailed to {ADDRESS}." in words_of(sent)
    assert [each.to for each in mailoutbox] == [[ADDRESS]]


@pytest.mark.django_db(transaction=True)
def test_of_clicks_at_once_one_mails_the_link_and_after_a_minute_another_may(
    users_admin: User, organisation: Organisation, mailoutbox: list
) -> None:
    user = create_user(
        actor=SYSTEM, primary_address=ADDRESS, name="Mika Sato", unit=organisation.sales
    )
    clients = [SecondFactorClient() for _click in range(4)]
    for client in clients:
        client.force_login(users_admin)

    def click(client: Client) -> tuple[int, str]:
        answer = client.post(page_of(user, LINK))
        connection.close()
        return answer.status_code, answer.content.decode()

    def click_at_once() -> list[int]:
        with ThreadPoolExecutor(len(clients)) as threads:
            answers = list(threads.map(click, clients))
        refused = [page for status, page in answers if status == 409]
        assert all("less than a minute ago" in page for page in refused)
        return sorted(status for status, _page in answers)

    for mails in (1, 2):
        assert click_at_once() == [302, 409, 409, 409]
        assert [each.to for each in mailoutbox] == [[ADDRESS]] * mails
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shared_cache SET expires = expires - interval '61 seconds'")
    assert AuditEvent.objects.filter(name="password_link_mailed").count() == 2


def test_who_has_a_password_or_is_suspended_is_mailed_none(
    client: Client, users_admin: User, owner: User, mailoutbox: list
) -> None:
    client.force_login(users_admin)
    assert page_of(owner, LINK) not in client.get(page_of(owner)).content.decode()
    User.objects.filter(pk=owner.pk).update(suspended=True, password="!")
    assert client.post(page_of(owner, LINK)).status_code == 409
    assert mailoutbox == []


def test_one_chooses_a_unit_first_unless_there_is_one_only(
    client: Client, super_admin: User, users_admin: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    html = client.get(NEW, {"q": "desk", **TYPED}).content.decode()
    link = f"?to={organisation.partner_desk.pk}&amp;primary_address=Mika.Sato%40YourDomain.com"
    assert f'href="{NEW}{link}&amp;name=%20Mika%20Sato%20"' in html
    for unit in (organisation.root, organisation.support_unit):
        assert f"?to={unit.pk}" not in client.get(NEW).content.decode()
    delete_unit(actor=SYSTEM, unit=organisation.partner_desk)
    assert "New account in Sales" in words_of(client.get(NEW))
    client.force_login(super_admin)
    few = count_queries(lambda: client.get(NEW))
    create_units(organisation.sales, "Branch")
    assert count_queries(lambda: client.get(NEW)) == few


def test_a_unit_that_changed_meanwhile_is_told_and_nothing_is_lost(
    client: Client, users_admin: User, organisation: Organisation
) -> None:
    client.force_login(users_admin)
    unit = organisation.partner_desk
    data = ask(client, unit.pk) | TYPED
    rename_unit(actor=SYSTEM, unit=unit, name="Trade desk")
    changed = client.post(NEW, data)
    assert changed.status_code == 409
    assert "Partner desk was moved or renamed meanwhile" in words_of(changed)
    assert "Mika.Sato@YourDomain.com" in changed.content.decode()
    data = hidden(changed) | TYPED | {"to": str(unit.pk)}
    delete_unit(actor=SYSTEM, unit=unit)
    gone = client.post(NEW, data)
    assert gone.status_code == 409
    assert "Trade desk was deleted meanwhile" in words_of(gone)
    link = f"?to={organisation.sales.pk}&amp;primary_address=Mika.Sato%40YourDomain.com"
    assert link in gone.content.decode()
    assert not User.objects.filter(primary_address=ADDRESS).exists()


@pytest.mark.parametrize("stays", [True, False], ids=["other privilege", "no role at all"])
def test_who_lost_the_privilege_meanwhile_has_it_back_as_typed(
    client: Client, users_admin: User, owner: User, organisation: Organisation, stays: bool
) -> None:
    client.force_login(users_admin)
    User.objects.filter(pk=owner.pk).update(password="!")
    data = ask(client, organisation.sales.pk) | TYPED
    asked = {page: hidden(client.get(page_of(owner, page))) for page in KEPT}
    users_admin.roles.all().delete()
    if stays:
        assign_role(
            actor=SYSTEM, user=users_admin, role=RoleAssignment.Role.UNIT_ADMIN,
            unit=organisation.sales, privileges=[Privilege.REPORTS],
        )  # fmt: skip
    response = client.post(NEW, data)
    assert response.status_code == 404
    assert "Nothing was done." in words_of(response)
    assert "Mika.Sato@YourDomain.com" in response.content.decode()
    for page, fields in asked.items():
        response = client.post(page_of(owner, page), {**fields, "reason": "Typed"})
        assert response.status_code == 404
        assert 'value="Typed"' in response.content.decode()
        assert client.get(page_of(owner, page)).status_code == 404
    assert client.get(NEW).status_code == 404
    owner.refresh_from_db()
    assert not owner.suspended


KEPT = ("console:account_suspend", LINK)


def test_who_never_had_the_privilege_learns_nothing_by_a_form_of_others(
    client: Client, users_admin: User, stranger: User, owner: User
) -> None:
    client.force_login(users_admin)
    fields = hidden(client.get(page_of(owner, KEPT[0])))
    client.force_login(stranger)
    response = client.post(page_of(owner, KEPT[0]), {**fields, "reason": "Typed"})
    assert response.status_code == 404
    assert "Typed" not in response.content.decode()

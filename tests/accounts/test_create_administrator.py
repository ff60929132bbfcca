import re

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEvent, Domain, OrgUnit, User
from accounts.services.audit import SYSTEM
from accounts.services.people import add_alias, suspend_user
from tests.conftest import PASSWORD

ADDRESS = "mina@yourdomain.com"


def create(*arguments):
    call_command("create_administrator", *arguments)


def link_in(text):
    return re.search(r"^http://localhost:8000(/password/reset/\S+)$", text, re.MULTILINE)[1]


def choose_password(client, link):
    form = client.get(link, follow=True)
    fields = {"password1": PASSWORD, "password2": PASSWORD}
    return client.post(form.request["PATH_INFO"], fields)


def test_in_an_empty_database_it_makes_all_that_is_needed(db, client, capsys, mailoutbox):
    create("Mina@YourDomain.com", "--name", "Mina Kato")
    domain, root, user = Domain.objects.get(), OrgUnit.objects.get(), User.objects.get()
    assert (domain.name, domain.kind) == ("yourdomain.com", "primary")
    assert (root.name, root.is_root()) == ("yourdomain.com", True)
    assert (user.primary_address, user.name, user.unit) == (ADDRESS, "Mina Kato", root)
    assert user.is_super_admin
    assert not user.has_usable_password()
    events = AuditEvent.objects.order_by("id").values_list("name", "actor_address")
    names = ["domain_created", "unit_created", "account_created", "role_assigned"]
    assert list(events) == [(name, "") for name in names]

    out = capsys.readouterr().out
    assert "mina@yourdomain.com is a new account, and a super administrator." in out
    assert choose_password(client, link_in(out)).url == "/password/reset/done/"
    assert not [mail for mail in mailoutbox if "/password/reset/" in mail.body]
    assert client.post("/sign-in/", {"login": ADDRESS, "password": PASSWORD}).status_code == 302
    assert client.get("/console/").url.startswith("/second-factor/set-up/")


def test_run_again_it_changes_nothing_and_gives_a_new_link(db, client, capsys):
    create(ADDRESS, "--name", "Mina Kato")
    choose_password(client, link_in(capsys.readouterr().out))
    events = AuditEvent.objects.count()
    create(ADDRESS)
    out = capsys.readouterr().out
    assert "is a super administrator already" in out
    assert (User.objects.count(), AuditEvent.objects.count()) == (1, events)
    assert User.objects.get().check_password(PASSWORD)
    assert choose_password(client, link_in(out)).url == "/password/reset/done/"


def test_an_account_that_is_there_keeps_its_name_and_unit(owner, organisation, capsys):
    create(owner.primary_address, "--name", "Somebody Else")
    assert f"{owner.primary_address} is a super administrator now." in capsys.readouterr().out
    user = User.objects.get()
    assert (user.name, user.unit) == ("Yuki Tanaka", organisation.partner_desk)
    assert user.is_super_admin


@pytest.mark.parametrize(
    ("address", "name", "told"),
    [
        ("mina", "Mina", "name@example.com"),
        ("mina@two words", "Mina", "domain"),
        ("mina@elsewhere.example", "Mina", "outside the organisation's domains"),
        ("mina@yourdomain.com", " ", "Give the account a name"),
        ("mina@yourdomain.com", "Mina\nBcc: x", "one line"),
        ("mina@yourdomain.com", "M" * 201, "at most 200"),
        ("office@yourdomain.com", "Office", "belongs to an account already"),
        ("user@yourdomain.com", "", "is suspended"),
    ],
)
def test_what_can_not_be_done_is_refused_and_nothing_is_changed(owner, address, name, told):
    add_alias(actor=SYSTEM, user=owner, address="office@yourdomain.com")
    suspend_user(actor=SYSTEM, user=owner)
    events = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=told):
        create(address, "--name", name)
    assert User.objects.count() == 1
    assert AuditEvent.objects.count() == events


def test_a_bad_address_makes_no_domain(db):
    with pytest.raises(CommandError):
        create("mina@localhost..", "--name", "Mina")
    assert not Domain.objects.exists()

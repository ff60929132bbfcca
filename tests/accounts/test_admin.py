from datetime import UTC, datetime

import pytest
from django.contrib import admin
from django.templatetags.static import static
from django.utils.formats import localize

from accounts.models import Alias, AppPassword, AuditEvent, Domain, OrgUnit, RoleAssignment, User
from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain, create_unit
from accounts.services.people import add_alias, create_user
from accounts.templatetags.clock import clock_seconds
from tests.support import assert_only_to_be_read, count_queries, page_of, read

LISTED = [User, AppPassword, OrgUnit, Domain, RoleAssignment, AuditEvent]


@pytest.fixture
def app_password(owner):
    return create_app_password(actor=SYSTEM, user=owner, name="Phone")[0]


@pytest.fixture
def alias(owner):
    return add_alias(actor=SYSTEM, user=owner, address="yuki@yourdomain.com")


@pytest.fixture
def as_support(client, support):
    client.force_login(support)
    return client


@pytest.fixture
def as_super_admin(client, super_admin):
    client.force_login(super_admin)
    return client


def post_action(client, action, *rows):
    return client.post(
        page_of(rows[0], "changelist"),
        {"action": action, "_selected_action": [row.pk for row in rows]},
        follow=True,
    )


@pytest.mark.parametrize("model", LISTED)
@pytest.mark.parametrize("role", ["support", "super_admin"])
def test_support_reads_and_changes_nothing(client, role, model, request, app_password, alias):
    client.force_login(request.getfixturevalue(role))
    assert_only_to_be_read(client, model._default_manager.last())


def test_nothing_else_of_other_packages_can_be_reached(as_support):
    listed = {model._meta.label for model in admin.site._registry}
    assert not {"auth.Group", "account.EmailAddress", "account.EmailConfirmation"} & listed


def test_an_account_is_shown_with_its_unit_aliases_and_app_passwords(
    as_support, owner, app_password, alias
):
    html = read(as_support, page_of(owner))
    assert "yourdomain.com › Sales › Partner desk" in html
    assert "yuki@yourdomain.com" in html
    assert "Phone" in html


def test_no_page_shows_a_password_or_what_is_kept_of_it(as_support, owner, app_password):
    secrets = [owner.password, owner.password.split("$")[-1], bytes(app_password.digest).hex()]
    for row in (owner, app_password):
        html = read(as_support, page_of(row, "changelist")) + read(as_support, page_of(row))
        assert not [secret for secret in secrets if secret in html]
        assert "digest" not in html


@pytest.mark.parametrize("term", ["user@yourdomain", "yuki@yourdomain.com", "Yuki"])
def test_an_account_is_found_by_address_alias_or_name(as_support, owner, alias, stranger, term):
    html = read(as_support, f"{page_of(owner, 'changelist')}?q={term}")
    assert page_of(owner) in html
    assert page_of(stranger) not in html


def test_units_stand_in_the_order_of_the_tree(as_support, organisation):
    html = read(as_support, page_of(organisation.root, "changelist"))
    names = ["Sales", "› › Partner desk", "› Support"]
    assert [html.index(name) for name in names] == sorted(html.index(name) for name in names)


@pytest.mark.parametrize("role", ["owner", "unit_admin"])
def test_nobody_else_is_let_in(client, role, request):
    client.force_login(request.getfixturevalue(role))
    assert client.get("/support/").status_code in {302, 403}
    assert client.get(page_of(User(), "changelist")).status_code in {302, 403}


def test_who_is_not_signed_in_is_sent_to_the_sign_in(client, owner):
    for url in ("/support/", page_of(owner), page_of(owner, "changelist")):
        response = client.get(url, follow=True)
        assert response.redirect_chain[-1][0].startswith("/sign-in/?next=")


def test_a_super_administrator_suspends_and_restores(as_super_admin, owner, colleague):
    response = post_action(as_super_admin, "suspend", owner, colleague)
    assert "2 accounts are suspended." in response.content.decode()
    owner.refresh_from_db()
    assert owner.suspended
    post_action(as_super_admin, "restore", owner)
    owner.refresh_from_db()
    assert not owner.suspended
    events = AuditEvent.objects.filter(target=owner.primary_address, name__contains="account_")
    names = list(events.order_by("id").values_list("name", "actor_address"))
    assert names[-2:] == [
        ("account_suspended", "admin@yourdomain.com"),
        ("account_restored", "admin@yourdomain.com"),
    ]


def test_a_super_administrator_does_not_suspend_himself(as_super_admin, super_admin):
    post_action(as_super_admin, "suspend", super_admin)
    super_admin.refresh_from_db()
    assert not super_admin.suspended


def test_support_suspends_nobody(as_support, owner):
    assert 'value="suspend"' not in read(as_support, page_of(owner, "changelist"))
    post_action(as_support, "suspend", owner)
    owner.refresh_from_db()
    assert not owner.suspended


def test_support_revokes_an_app_password(as_support, app_password):
    response = post_action(as_support, "revoke", app_password)
    assert "1 app password is revoked." in response.content.decode()
    app_password.refresh_from_db()
    assert app_password.revoked_at
    event = AuditEvent.objects.get(name="app_password_revoked")
    assert event.actor_address == "support@yourdomain.com"


def make_rows(unit, numbers):
    for number in numbers:
        user = create_user(
            actor=SYSTEM, primary_address=f"p{number}@yourdomain.com", name="P", unit=unit
        )
        create_app_password(actor=SYSTEM, user=user, name="Phone")
        Alias.objects.create(user=user, address=f"a{number}@yourdomain.com")
        RoleAssignment.objects.create(
            user=user, role="unit_admin", unit=unit, privileges=["reports"]
        )
        create_unit(actor=SYSTEM, name=f"Unit {number}", parent=unit)
        create_domain(actor=SYSTEM, name=f"d{number}.example")


def test_a_list_costs_the_same_queries_with_more_rows(as_support, organisation):
    make_rows(organisation.sales, range(10))
    urls = [page_of(model(), "changelist") for model in LISTED]
    before = [count_queries(as_support, url) for url in urls]
    make_rows(organisation.support_unit, range(10, 20))
    assert [count_queries(as_support, url) for url in urls] == before


def test_the_pages_wear_our_colours_and_write_times_as_ours_do(as_support, app_password):
    AppPassword.objects.update(created_at="2026-01-02T15:04:00Z")
    html = read(as_support, page_of(app_password))
    assert "2\u00a0Jan\u00a02026, 15:04:00" in html
    for file in ("css/tokens.css", "css/support.css", "mark.svg"):
        assert static(file) in html
    assert "admin/css/dark_mode.css" not in html


def test_a_moment_has_the_same_form_on_both_kinds_of_pages():
    moment = datetime(2026, 1, 2, 15, 4, tzinfo=UTC)
    assert localize(moment) == clock_seconds(moment)

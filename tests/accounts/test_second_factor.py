"""Second factors: demanded of whoever has a role, and what protects them."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.test import Client

from accounts.models import AuditEvent, RoleAssignment
from accounts.services.audit import SYSTEM, Actor
from accounts.services.roles import assign_role
from accounts.services.second_factors import reset_second_factor
from config.demo_page import code_now
from sendas.credentials import CredentialError
from sendas.second_factor import seal_text, unseal_text
from tests.conftest import PASSWORD
from tests.second_factors import SECRET, give_second_factor
from tests.test_access import ROLES, TABLE, world  # noqa: F401

SET_UP, AGAIN, CODE = "/second-factor/set-up/", "/sign-in/code/again/", "/sign-in/code/"


@pytest.fixture
def plain(db) -> Client:
    """Signs in without a second factor."""
    cache.clear()
    return Client()


def sign_in(client, user, **fields):
    return client.post("/sign-in/", {"login": user.primary_address, "password": PASSWORD, **fields})


def type_code(client, code, url=CODE):
    return client.post(url, {"code": code})


EXEMPT = ("support/login/", "support/logout/", "support/password_change/", "support/r/")


@pytest.mark.parametrize(("factor", "led_to"), [(False, SET_UP), (True, AGAIN)])
def test_nobody_with_a_role_gets_further_than_to_the_second_factor(
    plain,
    world,  # noqa: F811
    factor,
    led_to,
):
    """Each page of the console and of support, for each role that the table lets in."""
    if not factor:
        Authenticator.objects.all().delete()
    wrong = []
    for number, role in enumerate(ROLES[3:], 3):
        user = world.people[role]
        plain.force_login(user)
        for route, row in TABLE.items():
            if not route.startswith(("console/", "support/")) or route.startswith(EXEMPT):
                continue
            if not (user.is_staff if route.startswith("support/") else row.get[number] != 404):
                continue
            url = world.url(route, row.query)
            for method in (plain.get, plain.post) if row.post else (plain.get,):
                answer = method(url)
                if not answer.get("Location", "").startswith(led_to):
                    wrong.append(f"{role} {method.__name__} {url}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def test_set_up_on_the_way_to_the_console(plain, super_admin):
    answer = sign_in(plain, super_admin, next="/console/audit/?page=2")
    assert answer.url == "/console/audit/?page=2"
    led = plain.get(answer.url)
    assert led.url.startswith(SET_UP)
    again = plain.get(led.url)
    assert again.url.startswith("/sign-in/again/")
    wanted = plain.post(again.url, {"password": PASSWORD}).url
    assert wanted == led.url
    page = plain.get(wanted)
    assert "Your role needs a second factor." in page.content.decode()
    secret = page.context["form"].secret
    before = plain.session.session_key
    wrong = plain.post(wanted, {"code": "000000"})
    assert "That code does not hold" in wrong.content.decode()
    assert wrong.context["form"].secret == secret
    code = code_now(secret)
    codes_page = plain.post(wanted, {"code": code})
    assert codes_page.url.startswith("/second-factor/recovery-codes/")
    assert plain.session.session_key != before
    codes = plain.get(codes_page.url)
    assert 'href="/console/audit/?page=2"' in codes.content.decode()
    assert plain.get("/console/audit/").status_code == 200
    assert AuditEvent.objects.filter(name="second_factor_set_up").count() == 1
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not any(each in stored for each in codes.context["unused_codes"])
    # The code that proved the set-up is spent.
    plain.logout()
    sign_in(plain, super_admin)
    assert type_code(plain, code).status_code == 200


@pytest.mark.parametrize("wanted", ["//evil.example/", "https://evil.example/", "javascript:a()"])
def test_the_second_factor_leads_to_our_own_pages_only(plain, super_admin, wanted):
    give_second_factor(super_admin)
    plain.force_login(super_admin)
    done = plain.post(f"{AGAIN}?next={wanted}", {"code": code_now(SECRET), "next": wanted})
    assert done.url == "/"


def test_a_code_opens_once_and_a_recovery_code_once(plain, super_admin):
    factor = give_second_factor(super_admin)
    recovery = RecoveryCodes.activate(super_admin).generate_codes()[0]
    for code in (code_now(SECRET), recovery):
        assert sign_in(plain, super_admin, next="/console/").url == CODE
        before = plain.session.session_key
        assert type_code(plain, code).url == "/console/"
        assert plain.session.session_key != before
        assert plain.get("/console/").status_code == 200
        plain.logout()
        # Allauth's own memory lasts half a minute, the code a minute and a half.
        cache.delete(TOTP(factor)._get_used_cache_key(code))
        sign_in(plain, super_admin)
        refused = type_code(plain, code)
        assert "That code does not hold" in refused.content.decode()
        assert plain.get("/settings/").status_code == 302
        # As "Sign in as somebody else" does.
        assert plain.post("/sign-out/").url == "/sign-in/"


def test_codes_cannot_be_guessed(plain, super_admin):
    """Wrong ones are counted for the account, whatever session they come from."""
    give_second_factor(super_admin)
    for _try in range(5):
        sign_in(plain, super_admin)
        assert "That code does not hold" in type_code(plain, "000000").content.decode()
        plain.logout()
    sign_in(plain, super_admin)
    assert "Too many tries" in type_code(plain, code_now(SECRET)).content.decode()
    assert plain.get("/settings/").status_code == 302


def test_a_role_counts_at_the_next_request(plain, owner):
    plain.force_login(owner)
    assert plain.get("/console/").status_code == 404
    assign_role(actor=SYSTEM, user=owner, role=RoleAssignment.Role.SUPER_ADMIN)
    assert plain.get("/console/").url.startswith(SET_UP)
    assert plain.get("/settings/").status_code == 200
    # A part that polls is told to reload instead.
    assert plain.get("/console/", headers={"HX-Request": "true"})["HX-Refresh"] == "true"


def test_ordinary_people_are_asked_for_theirs_too(plain, owner):
    give_second_factor(owner)
    assert sign_in(plain, owner).url == CODE
    assert plain.get("/settings/").status_code == 302
    assert plain.get(CODE).status_code == 200
    assert type_code(plain, code_now(SECRET)).url == "/"
    assert "On since" in plain.get("/second-factor/").content.decode()


OWN_PAGES = tuple(
    f"/second-factor/{page}"
    for page in ("remove/", "recovery-codes/", "recovery-codes/new/", "recovery-codes/download/")
)


def test_a_session_older_than_the_factor_gets_past_it_by_no_password(plain, owner, super_admin):
    """Neither by removing it, nor by reading or making recovery codes."""
    for user in (owner, super_admin):
        plain.force_login(user)
        give_second_factor(user)
        RecoveryCodes.activate(user)
        plain.post("/sign-in/again/", {"password": PASSWORD})
        for page in OWN_PAGES:
            assert plain.get(page).url.startswith(AGAIN), page
            assert plain.post(page).url.startswith(AGAIN), page
        assert Authenticator.objects.filter(user=user).count() == 2


def test_the_use_of_a_former_factor_counts_no_more(client, super_admin):
    client.force_login(super_admin)
    assert client.get("/console/").status_code == 200
    Authenticator.objects.all().delete()
    assert client.get("/console/").url.startswith(SET_UP)
    give_second_factor(super_admin)
    assert client.get("/console/").url.startswith(AGAIN)


def test_what_was_posted_leads_back_to_the_page_of_its_form(plain, super_admin):
    plain.force_login(super_admin)
    for referer, wanted in (
        ("http://testserver/console/?unit=1", "%2Fconsole%2F%3Funit%3D1"),
        ("https://evil.example/console/", "%2Fconsole%2F"),
        ("", "%2F"),
    ):
        answer = plain.post("/support/accounts/user/", headers={"Referer": referer})
        assert answer.url == f"{SET_UP}?next={wanted}"


def test_it_is_removed_only_with_a_code_and_recovery_codes_are_made_anew(plain, owner):
    give_second_factor(owner)
    first = RecoveryCodes.activate(owner).generate_codes()
    plain.force_login(owner)
    before = plain.session.session_key
    assert type_code(plain, code_now(SECRET), AGAIN).status_code == 302
    assert plain.session.session_key != before
    assert plain.get("/second-factor/recovery-codes/new/").status_code == 200
    plain.post("/second-factor/recovery-codes/new/")
    page = plain.get("/second-factor/recovery-codes/")
    assert "no-store" in page["Cache-Control"]
    new = page.context["unused_codes"]
    assert not set(first) & set(new)
    assert plain.get("/second-factor/recovery-codes/download/").content.decode().split() == new
    assert plain.get("/second-factor/remove/").status_code == 200
    assert plain.post("/second-factor/remove/").url == "/second-factor/"
    assert not Authenticator.objects.exists()
    assert AuditEvent.objects.get(name="second_factor_removed").target == owner.primary_address


def test_a_lost_factor_is_reset_and_its_sessions_end(client, plain, owner, support):
    give_second_factor(owner)
    plain.force_login(owner)
    client.force_login(support)
    reset(client, owner)
    assert not Authenticator.objects.filter(user=owner).exists()
    assert plain.get("/settings/").status_code == 302
    event = AuditEvent.objects.get(name="second_factor_reset")
    assert (event.actor_address, event.target) == (support.primary_address, owner.primary_address)
    assert event.client_ip


def test_only_a_super_administrator_resets_that_of_an_account_with_a_role(
    client, unit_admin, support, super_admin, stranger
):
    give_second_factor(unit_admin)
    client.force_login(support)
    told = reset(client, unit_admin).content.decode()
    assert "Only a super administrator can do that." in told
    assert Authenticator.objects.filter(user=unit_admin).exists()
    for nobody in (stranger, unit_admin):
        with pytest.raises(PermissionDenied):
            reset_second_factor(actor=Actor(nobody), user=unit_admin)
    client.force_login(super_admin)
    reset(client, unit_admin)
    assert not Authenticator.objects.filter(user=unit_admin).exists()


def reset(client, user):
    data = {"action": "reset_second_factor", "_selected_action": [user.pk]}
    return client.post("/support/accounts/user/", data, follow=True)


def test_a_changed_or_foreign_secret_is_not_read():
    sealed = seal_text(SECRET)
    assert SECRET not in sealed
    assert unseal_text(sealed) == SECRET
    with pytest.raises(CredentialError):
        unseal_text(sealed[:-4] + "AAA=")
    with pytest.raises(CredentialError):
        unseal_text(f"gone:{sealed.partition(':')[2]}")

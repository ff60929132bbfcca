"""What of django-allauth's pages is ours: where they lie, whom they let in and what they tell."""

import os
import re
import subprocess
import sys

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.services.audit import SYSTEM
from accounts.services.people import restore_user, suspend_user
from tests.conftest import PASSWORD
from tests.processes import CHECKOUT

NEW_PASSWORD = "another horse, battery, staple"
SIGN_IN, RESET = "/sign-in/", "/password/reset/"


def sign_in(client, user, password=PASSWORD, **fields):
    return client.post(SIGN_IN, {"login": user.primary_address, "password": password, **fields})


def test_a_new_password_is_set_by_the_link_in_the_mail_once(client, owner, mailoutbox):
    assert client.post(RESET, {"email": owner.primary_address}).status_code == 302
    link = re.search(r"https?://[^/\s]+(/password/reset/\S+)", mailoutbox[0].body)[1]
    form = client.get(link, follow=True)
    assert "New password again" in form.content.decode()
    answer = client.post(
        form.request["PATH_INFO"], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    )
    assert answer.url == "/password/reset/done/"
    assert sign_in(client, owner).status_code == 200
    assert sign_in(client, owner, NEW_PASSWORD).status_code == 302
    client.logout()
    assert "This link no longer works" in client.get(link, follow=True).content.decode()


def test_nobody_learns_who_has_an_account_and_no_outsider_gets_mail(client, owner, mailoutbox):
    known = client.post(RESET, {"email": owner.primary_address})
    unknown = client.post(RESET, {"email": "somebody@elsewhere.example"})
    assert (known.status_code, known.url) == (unknown.status_code, unknown.url)
    assert [mail.to for mail in mailoutbox] == [[owner.primary_address]]


def test_a_suspended_account_is_told_so_only_with_its_password(client, owner):
    suspend_user(actor=SYSTEM, user=owner)
    assert "do not match" in sign_in(client, owner, "a wrong password").content.decode()
    answer = sign_in(client, owner)
    assert (answer.status_code, answer.url) == (302, "/sign-in/suspended/")
    assert "This account is suspended" in client.get(answer.url).content.decode()
    assert client.get("/settings/").url.startswith(SIGN_IN)
    client.post(RESET, {"email": owner.primary_address})


def test_a_session_ends_for_good_when_its_account_is_suspended(client, owner):
    assert sign_in(client, owner).status_code == 302
    assert client.get("/settings/").status_code == 200
    suspend_user(actor=SYSTEM, user=owner)
    restore_user(actor=SYSTEM, user=owner)
    assert client.get("/settings/").url.startswith(SIGN_IN)
    assert sign_in(client, owner).status_code == 302
    assert client.get("/settings/").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/settings/app-passwords/", "/settings/app-passwords/"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_sign_in_leads_back_to_our_own_pages_only(client, owner, wanted, led_to):
    assert sign_in(client, owner, next=wanted).url == led_to


def test_a_wrong_password_is_told_and_the_address_kept(client, owner):
    html = sign_in(client, owner, "a wrong password").content.decode()
    assert "Address and password do not match" in html
    assert f'value="{owner.primary_address}"' in html
    assert "a wrong password" not in html


@pytest.mark.parametrize(
    ("page", "field", "label"),
    [(SIGN_IN, "login", "アドレス"), (RESET, "email", "メインアドレス")],
)
def test_an_error_names_the_field_as_its_label_does(client, db, page, field, label):
    answer = client.post(page, {field: "user.name"}, headers={"accept-language": "ja"})
    html = answer.content.decode()
    assert f'<label for="id_{field}">{label}</label>' in html
    assert f'<a href="#id_{field}">{label}</a>: アドレスはname@example.comの形で' in html
    assert "メールアドレス" not in html


def test_support_changes_its_password_where_everybody_does(client, support):
    client.force_login(support)
    assert client.get("/support/password_change/").url == "/password/change/"
    assert client.get("/password/change/").status_code == 200


@pytest.fixture
def empty_cache(transactional_db):
    cache.clear()
    yield
    cache.clear()


IN_ANOTHER_PROCESS = """
import sys, django
django.setup()
from django.test import Client
address, password = sys.argv[1:]
answer = Client(SERVER_NAME="localhost").post("/sign-in/", {"login": address, "password": password})
print(answer.status_code, answer.content.decode())
"""


@pytest.mark.slow
def test_tries_are_counted_for_all_web_processes_together(empty_cache, owner):
    for _try in range(5):
        sign_in(Client(SERVER_NAME="localhost"), owner, "a wrong password")
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, owner.primary_address, PASSWORD]
    done = subprocess.run(
        command, env=os.environ, cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("200 ")
    assert "Too many tries with a wrong password" in done.stdout


def test_behind_a_proxy_limits_count_the_client(client, owner, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1

    def tell(address, client_ip):
        # What the client itself claims stands in front of what the proxy saw.
        answer = client.post(
            SIGN_IN,
            {"login": address, "password": "a wrong password"},
            headers={"X-Forwarded-For": f"192.0.2.1, {client_ip}"},
        )
        return answer.content.decode()

    for number in range(10):
        assert "do not match" in tell(f"{number}@yourdomain.com", "198.51.100.1")
    assert "Too many tries" in tell("10@yourdomain.com", "198.51.100.1")
    assert "do not match" in tell("10@yourdomain.com", "198.51.100.2")


@pytest.mark.parametrize("page", ["/sign-in/", "/password/reset/"])
def test_no_label_is_repeated_inside_its_field(client, db, page):
    assert "placeholder" not in client.get(page).content.decode()

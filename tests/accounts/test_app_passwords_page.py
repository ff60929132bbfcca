import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.incoming_server import parse_incoming_url
from accounts.models import AppPassword
from accounts.services.app_passwords import authenticate_app_password, create_app_password
from accounts.services.audit import SYSTEM

PAGE = "/settings/app-passwords/"


@pytest.fixture
def user(client, owner):
    """The owner, signed in."""
    client.force_login(owner)
    return client


def make(user, *, name: str = "Laptop") -> AppPassword:
    return create_app_password(actor=SYSTEM, user=user, name=name)[0]


def test_it_asks_for_sign_in_and_takes_get_and_post_only(client, owner):
    assert client.get(PAGE).url.startswith("/sign-in/")
    client.force_login(owner)
    assert client.put(PAGE).status_code == 405


def test_an_empty_list_says_what_will_stand_there(user, settings):
    html = user.get(PAGE).content.decode()
    assert "No mail program can send yet" in html
    assert f"{settings.OUTGATE_SUBMISSION_PORT} with STARTTLS" in html
    assert f"{settings.OUTGATE_SUBMISSIONS_PORT} with TLS from the start" in html


SECRET = re.compile(r"(?:[a-z2-7]{5}-){3}[a-z2-7]{5}")


def test_a_new_one_is_shown_once_and_signs_in(user, owner):
    answer = user.post(PAGE, {"create": "", "name": "Laptop"}, follow=True)
    secret = SECRET.search(answer.content.decode())[0]
    assert authenticate_app_password(owner.primary_address, secret).name == "Laptop"
    assert "no-store" in answer["Cache-Control"]
    assert secret not in user.get(PAGE).content.decode()
    assert secret not in str(dict(user.session))


def test_a_reload_makes_no_second_one(user, owner):
    """The answer to the form is a redirect; the secret waits in a cookie that no script reads."""
    answer = user.post(PAGE, {"create": "", "name": "Laptop"})
    assert (answer.status_code, answer.url) == (302, PAGE)
    assert not SECRET.search(answer.content.decode())
    cookie = answer.cookies["new_app_password"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", PAGE)
    assert cookie["max-age"] <= 60
    for _ in range(2):
        user.get(PAGE)
    assert owner.app_passwords.count() == 1


def test_a_new_secret_is_shown_to_its_own_account_only(user, client, colleague):
    user.post(PAGE, {"create": "", "name": "Laptop"})
    secret = client.cookies["new_app_password"].value
    client.force_login(colleague)
    assert secret not in client.get(PAGE).content.decode()


def test_it_needs_a_name(user):
    answer = user.post(PAGE, {"create": "", "name": " "})
    assert "Give it a name" in answer.content.decode()
    assert not AppPassword.objects.exists()


def test_fifty_are_the_most_and_a_revoked_one_makes_room(user, owner):
    rows = [make(owner, name=f"Program {number}") for number in range(50)]
    html = user.post(PAGE, {"create": "", "name": "One more"}).content.decode()
    assert "You have 50 app passwords, which is the most." in html
    assert 'value="One more"' in html
    user.post(PAGE, {"revoke": rows[0].pk})
    user.post(PAGE, {"create": "", "name": "One more"})
    assert owner.app_passwords.filter(revoked_at=None, name="One more").count() == 1


def test_revoking_asks_first(user, owner):
    row = make(owner)
    assert (
        "Revoke the app password for Laptop?"
        in user.get(f"{PAGE}?revoke={row.pk}").content.decode()
    )
    assert AppPassword.objects.get().revoked_at is None
    assert user.post(PAGE, {"revoke": row.pk}).status_code == 302
    assert AppPassword.objects.get().revoked_at is not None
    assert "Laptop" not in user.get(PAGE).content.decode()


def test_only_ones_own_that_are_not_revoked_are_found(user, owner, colleague):
    theirs, mine = make(colleague), make(owner)
    user.post(PAGE, {"revoke": mine.pk})
    for key in (theirs.pk, mine.pk, "x", "", "\0", 10**30):
        assert user.get(PAGE, {"revoke": key}).status_code == 404
        assert user.post(PAGE, {"revoke": key}).status_code == 404
    assert AppPassword.objects.get(user=colleague).revoked_at is None
    assert theirs.name not in user.get(PAGE).content.decode()


def test_ten_or_twenty_cost_the_same_queries(user, owner):
    def queries(number: int) -> int:
        for count in range(AppPassword.objects.count(), number):
            make(owner, name=f"Program {count}")
        with CaptureQueriesContext(connection) as captured:
            assert user.get(PAGE).content.decode().count("list-row") == number
        return len(captured)

    assert queries(10) == queries(20)


def test_the_page_holds_no_inline_style_or_script(user, owner):
    make(owner)
    html = user.get(PAGE).content.decode()
    assert " style=" not in html
    assert not re.search(r"<script(?![^>]* src=)", html)


def test_it_says_when_and_from_where_each_was_used(user, owner):
    _row, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    assert "not used yet" in user.get(PAGE).content.decode()
    authenticate_app_password(owner.primary_address, secret, peer="203.0.113.77")
    html = user.get(PAGE).content.decode()
    assert re.search(r"last used \d\d:\d\d from 203\.0\.113\.0/24", html)
    assert "203.0.113.77" not in html


@pytest.mark.parametrize("program", ["Thunderbird", "Apple Mail", "Outlook", "K-9 Mail"])
def test_each_mail_program_has_its_steps_with_our_values(user, owner, settings, program):
    settings.OUTGATE_HOSTNAME = "submit.yourdomain.com"
    html = user.get(PAGE).content.decode()
    (steps,) = re.findall(rf"<summary>{program}.*?</details>", html, re.DOTALL)
    assert "submit.yourdomain.com" in steps
    assert str(settings.OUTGATE_SUBMISSIONS_PORT) in steps
    assert owner.primary_address in steps


def test_programs_that_look_for_settings_are_named_where_they_find_some(user, settings):
    looking = "Programs that look for settings by themselves"
    assert looking not in user.get(PAGE).content.decode()
    settings.OUTGATE_INCOMING_SERVER = parse_incoming_url("imaps://imap.yourdomain.com")
    assert looking in user.get(PAGE).content.decode()

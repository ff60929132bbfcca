"""English and Japanese: the catalogue is whole, and each person reads one's own language."""

import html
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as installed
from django.core.management import call_command
from django.test import Client
from django.utils import translation

from accounts.address_words import WORDS, address_refusal
from accounts.models import RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.people import choose_language
from accounts.services.roles import assign_role
from delivery.limit_reports import mail_report, record_limit_reached
from delivery.models import LimitReport
from sendas.services.proof import send_proof
from smtp.address import AddressError, normalise_address, parse_from
from tests.conftest import PASSWORD
from tests.sendas.conftest import make_pending
from tests.test_access import TABLE
from tests.test_access import world as everything  # noqa: F401  # a fixture

CATALOGUE = Path("locale/ja/LC_MESSAGES/django.po")
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
SENTENCE = re.compile(r"[a-z]+ [a-z]+ [a-z]+")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|\{\w*\}|</?\w+[^<>]*>")


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    """A request leaves its language behind in its thread."""
    with translation.override("en"):
        yield


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def texts_of(compiled: Path) -> dict[str, str]:
    """What a .mo file holds: `msgid` (for plurals both, with a NUL between) to `msgstr`."""
    content = compiled.read_bytes()
    count, ids, texts = struct.unpack_from("<8xIII", content)

    def read(table: int, number: int) -> str:
        length, start = struct.unpack_from("<II", content, table + 8 * number)
        return content[start : start + length].decode()

    return {read(ids, number): read(texts, number) for number in range(count)}


# --- the catalogue -----------------------------------------------------------------------------


def test_every_text_in_the_code_has_a_finished_translation(tmp_path, monkeypatch, settings):
    """Mend it by `make messages`, then translate what is empty or fuzzy, and `make messages`."""
    for folder in ("templates", "locale", *installed.INSTALLED_APPS[:6], "submission"):
        skipped = shutil.ignore_patterns("__pycache__", "migrations")
        shutil.copytree(folder, tmp_path / folder, ignore=skipped, dirs_exist_ok=True)
    kept = CATALOGUE.resolve()
    settings.LOCALE_PATHS = [tmp_path / "locale"]
    monkeypatch.chdir(tmp_path)
    call_command("makemessages", keep_pot=True, verbosity=0)
    run("msgcmp", kept, "locale/django.pot")
    assert "\n#~" not in kept.read_text(), "It holds texts that are used no more"


def test_the_compiled_catalogue_is_what_the_texts_give(tmp_path):
    run("msgfmt", "--check", "--output-file", tmp_path / "django.mo", CATALOGUE)
    assert texts_of(tmp_path / "django.mo") == texts_of(CATALOGUE.with_suffix(".mo"))


def test_placeholders_and_tags_are_the_same_in_both_languages():
    texts = texts_of(CATALOGUE.with_suffix(".mo"))
    # xgettext takes \u and \x literally: such a text is never found.
    assert not [english for english in texts if "\\u" in english or "\\x" in english]
    wrong = {}
    for english, japanese in texts.items():
        plural = english.rpartition("\0")[2]
        if sorted(PLACEHOLDER.findall(plural)) != sorted(PLACEHOLDER.findall(japanese)):
            wrong[plural] = japanese
    assert not wrong


def test_no_language_is_missing():
    assert [code for code, _name in installed.LANGUAGES] == ["en", "ja"]


# --- pages -------------------------------------------------------------------------------------


def words_of(page: str) -> Iterator[str]:
    """What stands on a page, and in the attributes that are read out or shown."""
    page = re.sub(r"<(script|style|code|pre)\b.*?</\1>", "\n", page, flags=re.DOTALL)
    attributes = re.findall(r'(?:aria-label|aria-valuetext|title|placeholder)="([^"]*)"', page)
    for text in (*attributes, *re.sub(r"<[^>]*>", "\n", page).split("\n")):
        yield html.unescape(text).strip()


def english_sentences(client: Client, url: str) -> list[str] | None:
    """None where there is no page."""
    answer = client.get(url, headers={"accept-language": "ja"})
    content = b"".join(answer).decode()
    if answer.status_code != 200 or not answer["Content-Type"].startswith("text/html"):
        return None
    return [
        text for text in words_of(content) if SENTENCE.search(text) and not JAPANESE.search(text)
    ]


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("anonymous", ("sign-in", "password/")),
        ("owner", ("settings/", "demo/", "compose/", "second-factor/")),
        ("super_admin", ("console/",)),
        ("super_admin", ("support/accounts/user", "support/sendas", "support/policies")),
    ],
)
def test_no_page_has_an_english_sentence_in_japanese(client, everything, role, part):  # noqa: F811
    User.objects.update(language="ja")
    if role != "anonymous":
        client.force_login(everything.people[role])
    urls = [
        everything.url(route, row.query) for route, row in TABLE.items() if route.startswith(part)
    ]
    found = {url: english_sentences(client, url) for url in urls}
    assert len([url for url, texts in found.items() if texts is not None]) > 5
    assert not {url: texts for url, texts in found.items() if texts}


def test_the_browser_says_what_a_stranger_reads(client):
    japanese = client.get("/sign-in/", headers={"accept-language": "ja-JP,ja;q=0.9,en;q=0.5"})
    assert '<html lang="ja"' in japanese.content.decode()
    assert "ログイン" in japanese.content.decode()
    assert japanese.headers["Content-Language"] == "ja"
    other = client.get("/sign-in/", headers={"accept-language": "eo"})
    assert '<html lang="en"' in other.content.decode()


def test_each_language_is_offered_by_its_own_name(client, owner):
    client.force_login(owner)
    for page in (client.get("/settings/"), client.get("/password/reset/")):
        offered = re.findall(r'value="(\w+)" lang="\w+"[^>]*>([^<]+)<', page.content.decode())
        assert offered == [("en", "English"), ("ja", "日本語")]


def test_the_account_keeps_the_language_that_was_chosen(client, owner):
    client.force_login(owner)
    referer = "http://testserver/settings/help/?from=list"
    answer = client.post("/language/", {"language": "ja"}, headers={"referer": referer})
    assert answer.url == referer
    owner.refresh_from_db()
    assert owner.language == "ja"
    elsewhere = Client(headers={"accept-language": "en"})
    elsewhere.force_login(owner)
    assert '<html lang="ja"' in elsewhere.get("/settings/").content.decode()


def test_a_stranger_keeps_the_choice_in_a_cookie(client):
    client.post("/language/", {"language": "ja"})
    assert '<html lang="ja"' in client.get("/sign-in/").content.decode()


@pytest.mark.parametrize("language", ["de", "xx", "", "../ja", "ja" * 40])
def test_a_language_that_there_is_not_changes_nothing(client, owner, language):
    choose_language(owner, "ja")
    client.force_login(owner)
    client.post("/language/", {"language": language})
    owner.refresh_from_db()
    assert owner.language == "ja"
    assert '<html lang="ja"' in client.get("/settings/").content.decode()


def test_the_way_back_leads_nowhere_else(client):
    answer = client.post("/language/", {"language": "ja", "next": "https://evil.example/"})
    assert answer.url == "/"
    assert client.get("/language/").status_code == 405


def sign_in(browser: Client, user: User, language: str) -> None:
    data = {"login": user.primary_address, "password": PASSWORD}
    answer = browser.post("/sign-in/", data, headers={"accept-language": language})
    assert answer.status_code == 302


def test_the_first_sign_in_brings_the_language_and_later_ones_do_not(client, owner):
    sign_in(client, owner, "ja")
    owner.refresh_from_db()
    assert owner.language == "ja"
    sign_in(Client(), owner, "en")
    owner.refresh_from_db()
    assert owner.language == "ja"


def test_errors_of_forms_and_of_services_are_japanese(client, owner):
    choose_language(owner, "ja")
    client.force_login(owner)
    page = client.post("/settings/send-as/add/", {"address": "a b@partnerdomain.com"})
    assert "@の前に使えない文字が含まれています" in page.content.decode()
    page = client.post("/settings/send-as/add/", {"address": ""})
    told = re.findall(r'class="field-error">.*?<span>([^<]+)', page.content.decode(), re.DOTALL)
    assert told
    assert all(JAPANESE.search(text) for text in told)


@pytest.mark.parametrize(
    "address",
    [
        "nobody", "a b@example.com", "a@exa mple.com", "a@b_c.example", "a@[300.1.1.1]",
        f"{'a' * 65}@example.com", "a@\u212aexample.com", "ü@example.com",
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_address_is_told_in_japanese(address):
    with pytest.raises(AddressError) as refusal:
        normalise_address(address)
    assert refusal.value.words in WORDS
    with translation.override("ja"):
        assert JAPANESE.search(address_refusal(refusal.value))


@pytest.mark.parametrize(
    "mailbox",
    [
        "nobody", "a\x01@x.example", "<a@x.example> b", "a@x.example <a@x.example>",
        "[a] <a@x.example>", "a@x.example (b", "=?a?q?b?=@x.example",
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_recipient_is_told_in_japanese(mailbox):
    with pytest.raises(AddressError) as refusal:
        parse_from(mailbox.encode())
    assert refusal.value.words in WORDS
    with translation.override("ja"):
        assert JAPANESE.search(address_refusal(refusal.value))


# --- mails -------------------------------------------------------------------------------------


def test_a_code_is_in_the_owners_language_whoever_asks(owner, mailoutbox):
    choose_language(owner, "ja")
    with translation.override("en"):
        send_proof(make_pending(User.objects.get(pk=owner.pk)))
        assert translation.get_language() == "en"
    [mail] = mailoutbox
    assert JAPANESE.search(mail.subject)
    assert "コード" in mail.body
    assert '<html lang="ja">' in mail.alternatives[0].content


def test_a_new_password_is_asked_for_in_one_language_and_mailed_in_another(
    client, owner, mailoutbox
):
    choose_language(owner, "ja")
    data = {"email": owner.primary_address}
    client.post("/password/reset/", data, headers={"accept-language": "en"})
    assert JAPANESE.search(mailoutbox[0].subject)
    assert JAPANESE.search(mailoutbox[0].body)


def test_each_administrator_hears_of_a_limit_in_his_own_language(
    owner, super_admin, colleague, mailoutbox
):
    assign_role(actor=SYSTEM, user=colleague, role=RoleAssignment.Role.SUPER_ADMIN)
    choose_language(super_admin, "ja")
    record_limit_reached(account_id=owner.pk, window=LimitReport.Window.HOUR, limit=500)
    mail_report(LimitReport.objects.get().pk)
    subjects = {mail.to[0]: mail.subject for mail in mailoutbox}
    assert len(subjects) == len(mailoutbox) == 2
    assert JAPANESE.search(subjects[super_admin.primary_address])
    assert "reached its limit" in subjects[colleague.primary_address]


def test_whatever_builds_a_mail_does_so_in_the_language_of_a_reader():
    builders = [
        path
        for app in ("accounts", "console", "delivery", "policies", "sendas")
        for path in Path(app).rglob("*.py")
        if re.search(r'EmailMultiAlternatives|render_to_string\(\s*f"\w+/mail/', path.read_text())
    ]
    assert len(builders) >= 2
    assert not [path for path in builders if ".reads()" not in path.read_text()]

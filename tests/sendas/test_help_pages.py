"""The help pages, and what people say of them."""

import re

import pytest

from accounts.models import HelpAnswer
from policies.models import AppliedPolicy, Setting
from sendas.help_pages import SUBJECTS
from sendas.services.outcomes import TOPICS
from tests.support import assert_fits_the_policy, assert_only_to_be_read

HELP = "/settings/help/"


def read(user, url: str) -> str:
    answer = user.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_index_leads_to_each_subject(user):
    html = read(user, HELP)
    for subject, (words, _there) in SUBJECTS.items():
        assert f'href="{HELP}{subject}/"' in html
        page = read(user, f"{HELP}{subject}/")
        assert f"<h1>{words}</h1>" in page
        assert "Was this helpful?" in page
        assert_fits_the_policy(page)
    assert user.get(f"{HELP}nothing/").status_code == 404
    assert user.put(f"{HELP}routes/").status_code == 405


def test_each_way_a_test_can_end_has_its_paragraph(user):
    sections = re.findall(r'<section id="([\w-]+)"', read(user, f"{HELP}errors/"))
    assert sorted(sections) == sorted(TOPICS)


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("/settings/", "/settings/help/"),
        ("/settings/send-as/add/", "/settings/help/add-address/"),
        ("/settings/app-passwords/", "/settings/help/mail-program/"),
    ],
)
def test_each_step_leads_to_its_help(user, page, link):
    assert f'href="{link}"' in read(user, page)


def test_the_routes_are_told_with_ones_own_address(user, owner):
    assert f"on behalf of {owner.primary_address}" in read(user, f"{HELP}routes/")


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("refuse", "nothing is sent by another one"),
        ("hold", "the message waits here and is tried again"),
        ("our_servers", "the message leaves by our servers on behalf of user@yourdomain.com"),
    ],
)
def test_it_says_what_happens_when_an_own_server_fails(user, owner, choice, told):
    AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_FAILURE,
        value={"choice": choice}, version=1,
    )  # fmt: skip
    assert told in read(user, f"{HELP}routes/")


def test_an_answer_is_kept_once_for_each_page(user, owner):
    for helpful, comment in (("yes", ""), ("no", "Where is the <b>port</b>?")):
        answer = user.post(f"{HELP}routes/", {"helpful": helpful, "comment": comment})
        assert (answer.status_code, answer.url) == (302, f"{HELP}routes/")
    assert "Your answer is kept." in read(user, f"{HELP}routes/")
    kept = HelpAnswer.objects.get()
    assert (kept.user, kept.page, kept.helpful) == (owner, f"{HELP}routes/", False)
    assert kept.comment == "Where is the <b>port</b>?"


def test_an_answer_without_yes_or_no_keeps_what_was_typed(user):
    html = user.post(f"{HELP}routes/", {"comment": "Half a thought"}).content.decode()
    assert "Choose Yes or No." in html
    assert "Half a thought" in html
    long = user.post(f"{HELP}routes/", {"helpful": "yes", "comment": "x" * 2_001})
    assert "at most 2000 characters" in long.content.decode()
    assert not HelpAnswer.objects.exists()


def test_support_reads_the_answers_and_changes_none(client, owner, support):
    row = HelpAnswer.objects.create(
        user=owner, page=f"{HELP}routes/", helpful=False, comment="<b>Which</b> port?"
    )
    client.force_login(support)
    html = assert_only_to_be_read(client, row)
    assert "&lt;b&gt;Which&lt;/b&gt; port?" in html
    assert owner.primary_address in html

"""One administrator's change undone by another in the middle, as every page of it shows it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from accounts.models import User
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user
from policies.models import PolicyChange
from policies.services import applied_value
from tests.browser import chromium, sign_in, sign_in_with_code
from tests.conftest import PASSWORD
from tests.console.rows import GATEWAY, OFF, ON, apply_waves, save_value, text_of
from tests.console.test_impact import add_address
from tests.processes import BEAT, WORKER, running
from tests.second_factors import SecondFactorClient, give_second_factor

ACCOUNTS = 12
SOON = 20_000  # milliseconds: a wave comes every four seconds, a sweep every two
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# What the pages of an account say: to administrators as a heading, to its user as a line.
MAY = ("It may use own servers", "Outside addresses may use their own SMTP servers, since")
MAY_NOT = (
    "It may not use own servers, and nothing is on its way that changes this",
    "Own SMTP servers are off for your account: all its mail leaves by our servers.",
)


@pytest.fixture
def browser(live_server, settings) -> Iterator[Browser]:
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    settings.OUTGATE_ROLLOUT_WINDOW = 60
    with chromium() as browser:
        yield browser


@pytest.fixture
def people(organisation) -> list[User]:
    """One of each cohort; the first and the last have an address with a server of its own."""
    people = [_person(organisation.partner_desk, cohort) for cohort in range(1, ACCOUNTS + 1)]
    for person in (people[0], people[-1]):
        local = person.primary_address.partition("@")[0]
        add_address(person, f"{local}@partnerdomain.com")
    return people


def _person(unit, cohort: int) -> User:
    address = f"person-{cohort}@yourdomain.com"
    user = create_user(
        actor=SYSTEM, primary_address=address, name=f"Person {cohort}", unit=unit, password=PASSWORD
    )
    User.objects.filter(pk=user.pk).update(cohort=cohort)
    user.refresh_from_db()
    return user


@pytest.mark.parametrize("had", [OFF, ON])
def test_what_one_administrator_changes_another_undoes_in_the_middle(
    browser, live_server, organisation, unit_admin, super_admin, people, had
):
    """The unit inherits a value that everybody has, and overrides it with the other one."""
    if had == ON:
        apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    for administrator in (unit_admin, super_admin):
        give_second_factor(administrator)
    open_page = Pages(browser, live_server.url)
    first = open_page(unit_admin)
    save_the_opposite(first, organisation.partner_desk, had)
    change = PolicyChange.objects.latest("pk")
    with running("worker", WORKER) as worker, running("beat", BEAT):
        worker.wait_for(r"\bready\.")
        follow_the_waves(first)
        # It is not loaded again from here on.
        first.evaluate("window.neverLoadedAgain = true")
        early, late = (open_page(person) for person in (people[0], people[-1]))
        for page, has in ((early, ON if had == OFF else OFF), (late, had)):
            page.goto(reverse("sendas:list"))
            expect(page.get_by_text(MAY[1])).to_have_count(1 if has == ON else 0)
        expect(late.get_by_text(notice_of(had))).to_be_visible()
        second = open_page(super_admin)
        undo_in_the_middle(second, change, people, had)
        undo = PolicyChange.objects.latest("pk")
        expect(second.locator("#rollout-tag")).to_contain_text("Complete", timeout=SOON)
        both_are_told(first, second, change, undo, had)
        # The user's page had asked by itself while the change was on its way.
        expect(late.get_by_text(line_of(had))).to_be_visible(timeout=SOON)
        expect(late.get_by_text(notice_of(had))).to_have_count(0)
        early.reload()
        expect(early.get_by_text(line_of(had))).to_be_visible()
    assert first.evaluate("window.neverLoadedAgain")
    everybody_is_back(super_admin, people, had)


class Pages:
    """A page of its own for each person, signed in."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser, self.url = browser, url

    def __call__(self, user: User) -> Page:
        page = self.browser.new_context(base_url=self.url).new_page()
        if user.roles.exists():
            sign_in_with_code(page, user)
            page.wait_for_url("**/console/")
        else:
            sign_in(page, user.primary_address)
            page.wait_for_url(lambda url: "sign-in" not in url)
        return page


def save_the_opposite(page: Page, unit: Any, had: dict[str, Any]) -> None:
    page.goto(reverse("console:mail_advanced", args=[unit.pk]))
    page.get_by_label("Override").check()
    page.get_by_label("Allow per-user outbound gateways").set_checked(had == OFF)
    page.get_by_label("Reason").fill("The partner asks")
    page.get_by_role("button", name="See what changes").click()
    panel = page.locator("#impact")
    if had == OFF:
        expect(panel).to_contain_text("12 accounts may then use own servers")
        expect(panel).to_contain_text("2 addresses change route: their own servers are set up")
    else:
        expect(panel).to_contain_text("12 accounts may then no longer use own servers")
        expect(panel).to_contain_text("2 addresses change route; recipients may then see")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Follow the rollout").click()
    expect(page.get_by_text("Rolling out")).to_be_visible()
    expect(page.get_by_text("0 of 12 accounts have it")).to_be_visible()


def follow_the_waves(page: Page) -> None:
    """The page asks by itself: one wave more, and one account more that has it."""
    applied = page.locator(".wave-applied")
    expect(applied).not_to_have_count(0, timeout=SOON)
    seen = applied.count()
    expect(applied).not_to_have_count(seen, timeout=SOON)
    expect(page.get_by_text(f"{seen} of 12 accounts have it")).to_have_count(0)
    assert seen < applied.count() < ACCOUNTS


def undo_in_the_middle(
    page: Page, change: PolicyChange, people: list[User], had: dict[str, Any]
) -> None:
    page.get_by_role("link", name="Rollouts", exact=True).click()
    page.get_by_role("link", name=re.compile(rf"^{change.pk} ?:")).click()
    expect(page.locator("#rollout-tag")).to_contain_text("Rolling out")
    page.goto(reverse("console:account", args=[people[-1].pk]))
    expect(page.get_by_role("heading", name=heading_before(had))).to_be_visible()
    page.get_by_role("row", name="sales-admin@yourdomain.com").get_by_role("link").click()
    page.get_by_role("link", name="Undo").click()
    have_it = page.get_by_text("accounts lose it at once.").inner_text()
    assert 2 <= int(have_it.split()[0]) < ACCOUNTS
    expect(page.get_by_text("The others never get it.")).to_be_visible()
    inherits = "again, from Sales: On." if had == ON else "so by default: Off."
    expect(page.get_by_text(inherits)).to_be_visible()
    page.get_by_label("Reason").fill("The partner was not asked")
    page.get_by_role("button", name="Undo change").click()
    expect(page.get_by_text(f"Change {change.pk} is undone, by this one.")).to_be_visible()


def both_are_told(
    first: Page, second: Page, change: PolicyChange, undo: PolicyChange, had: dict[str, Any]
) -> None:
    """Who, when, old, new and why: on the page that was open all the time, and on the undo's."""
    new = "On" if had == OFF else "Off"
    expect(first.locator("#rollout-tag")).to_contain_text("Undone", timeout=SOON)
    expect(first.get_by_role("link", name="Undo")).to_have_count(0)
    facts = first.locator("#rollout .facts")
    for words in ("Emre Aydin", "Inherited", new, "The partner asks"):
        expect(facts).to_contain_text(words)
    expect(facts).to_contain_text(f"by change {undo.pk}")
    expect(first.locator("#running-rollout")).to_have_count(0, timeout=SOON)
    expect(first.get_by_text("Mina Kato undid it: The partner was not asked")).to_be_visible()
    expect(second.get_by_text("12 of 12 accounts have it")).to_be_visible()
    facts = second.locator("#rollout .facts")
    for words in ("Mina Kato", new, "Inherited", "The partner was not asked"):
        expect(facts).to_contain_text(words)
    second.goto(reverse("console:rollouts"))
    for number, words in (
        (change.pk, ["Emre Aydin", "Inherited", new, "The partner asks", "Undone"]),
        (undo.pk, ["Mina Kato", "The partner was not asked", "Complete"]),
    ):
        row = second.get_by_role("row").filter(
            has=second.get_by_role("link", name=re.compile(rf"^{number} ?:"))
        )
        for each in words:
            expect(row).to_contain_text(each)


def everybody_is_back(super_admin: User, people: list[User], had: dict[str, Any]) -> None:
    """On both pages of each account."""
    heading, line = MAY if had == ON else MAY_NOT
    console, own = SecondFactorClient(), Client()
    console.force_login(super_admin)
    for person in people:
        assert applied_value(person.unit.path, person.cohort, GATEWAY).allowed == (had == ON)
        shown = text_of(console.get(reverse("console:account", args=[person.pk])))
        assert heading in shown
        assert "Nothing: it has every change of its units." in shown
        own.force_login(person)
        assert line in text_of(own.get(reverse("sendas:list")))


def line_of(had: dict[str, Any]) -> str:
    return MAY[1] if had == ON else MAY_NOT[1]


def notice_of(had: dict[str, Any]) -> str:
    return (
        "Own SMTP servers are being switched off"
        if had == ON
        else "Own SMTP servers are allowed, but not on your account yet"
    )


def heading_before(had: dict[str, Any]) -> str:
    return "It may use own servers until" if had == ON else "Not yet: it may use own servers by"

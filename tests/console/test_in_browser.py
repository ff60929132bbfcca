"""What the administrators' pages do by themselves, in a real browser."""

from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.models import User
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user
from config.demo_page import code_now
from policies.models import PolicyChange
from policies.services import applied_value
from tests.browser import chromium, sign_in_with_code
from tests.conftest import PASSWORD
from tests.console.rows import GATEWAY, apply_waves, save_value
from tests.processes import BEAT, WORKER, running
from tests.second_factors import SECRET, give_second_factor

ACCOUNTS = 12
SOON = 20_000  # milliseconds: a wave comes every four seconds, a sweep every two
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server, super_admin, settings) -> Iterator[Page]:
    """The super administrator, signed in."""
    settings.ALLOWED_HOSTS = ["localhost"]
    with chromium() as browser:
        page = browser.new_page(base_url=live_server.url)
        give_second_factor(super_admin)
        sign_in_with_code(page, super_admin)
        page.wait_for_url("**/console/")
        yield page


def test_going_back_brings_the_choice_as_it_was_left(page, organisation):
    page.goto(reverse("console:mail_advanced", args=[organisation.sales.pk]))
    box = page.get_by_label("Allow per-user outbound gateways")
    expect(box).to_be_disabled()
    page.get_by_label("Override").check()
    box.check()
    page.get_by_role("link", name="Rollouts", exact=True).click()
    page.wait_for_url("**/rollouts/")
    page.go_back()
    expect(page.get_by_label("Override")).to_be_checked()
    expect(box).to_be_enabled()
    expect(box).to_be_checked()
    override_a_guardrail(page, organisation)


def override_a_guardrail(page, organisation):
    """Its fields stand behind Override, and the save bar comes with the first change."""
    page.goto(reverse("console:guardrails", args=[organisation.sales.pk]))
    most, save = page.get_by_label("Outside addresses"), page.get_by_role("button", name="Save")
    card = page.get_by_role("region", name="Addresses per person")
    expect(most).to_be_hidden()
    expect(save).to_be_hidden()
    card.get_by_label("Override").check()
    most.fill("5")
    card.get_by_label("Inherit").check()
    expect(most).to_be_hidden()
    expect(save).to_be_hidden()
    page.goto(reverse("console:outbound", args=[organisation.root.pk]))
    expect(save).to_be_hidden()
    page.goto(reverse("console:guardrails", args=[organisation.sales.pk]))
    card.get_by_label("Override").check()
    most.fill("6")
    page.get_by_role("button", name="See what changes").click()
    counted = page.get_by_text("What saving this changes for Sales")
    expect(counted).to_be_visible()
    most.fill("5")
    expect(counted).to_have_count(0)
    save.click()
    expect(page.get_by_role("link", name="Follow the rollout")).to_be_visible()
    assert PolicyChange.objects.get().new == {"addresses": {"most": 5}}


MIDDLE_OF_TEXT = """element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const { top, bottom } = range.getBoundingClientRect();
  return (top + bottom) / 2;
}"""


@pytest.mark.parametrize("width", [1280, 390])
def test_an_action_stands_on_the_line_of_the_heading_beside_it(page, width):
    page.set_viewport_size({"width": width, "height": 700})
    page.goto(reverse("console:accounts"))
    heading = page.get_by_role("heading", name="Accounts", exact=True)
    action = page.get_by_role("link", name="New account…")
    apart = action.evaluate(MIDDLE_OF_TEXT) - heading.evaluate(MIDDLE_OF_TEXT)
    # On one base line the smaller letters lie a little lower.
    assert 0 <= apart <= 4


def test_a_rollout_is_paused_resumed_and_undone_in_the_middle(page, organisation, settings):
    """Two administrators' buttons, a real worker, and a page that follows by itself."""
    settings.OUTGATE_ROLLOUT_WINDOW = 60
    make_accounts(organisation.partner_desk)
    with running("worker", WORKER) as worker, running("beat", BEAT):
        worker.wait_for(r"\bready\.")
        page.goto(reverse("console:mail_advanced", args=[organisation.sales.pk]))
        page.get_by_label("Override").check()
        page.get_by_label("Allow per-user outbound gateways").check()
        page.get_by_label("Reason").fill("The partner asks")
        page.get_by_role("button", name="See what changes").click()
        panel = page.locator("#impact")
        expect(panel).to_contain_text("12 accounts may then use own servers")
        page.get_by_label("Allow per-user outbound gateways").uncheck()
        expect(panel).not_to_contain_text("12", use_inner_text=True)
        page.get_by_label("Allow per-user outbound gateways").check()
        expect(page.get_by_label("Reason")).to_have_value("The partner asks")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("link", name="Follow the rollout").click()
        expect(page.get_by_text("Rolling out")).to_be_visible()
        change = PolicyChange.objects.get()
        expect(page.locator(".wave-applied")).not_to_have_count(0, timeout=SOON)
        page.get_by_role("link", name="Pause").click()
        page.get_by_label("Reason").fill("Wait for the partner")
        page.get_by_role("button", name="Pause change").click()
        expect(page.locator("#rollout-tag")).to_contain_text("Paused")
        expect(page.get_by_text("paused it: Wait for the partner")).to_be_visible()
        stood = page.locator(".wave-applied").count()
        page.get_by_role("link", name="Resume").click()
        page.get_by_role("button", name="Resume change").click()
        # Nobody reloads: the page itself asks.
        expect(page.locator(".wave-applied")).to_have_count(stood + 1, timeout=SOON)
        have_it = accounts_with_it(organisation.partner_desk)
        assert 0 < have_it < ACCOUNTS
        page.get_by_role("link", name="Undo").click()
        page.get_by_role("button", name="Undo change").click()
        expect(page.locator("#rollout-tag")).to_contain_text("Complete", timeout=SOON)
        expect(page.get_by_role("link", name="Undo")).to_have_count(0)
        assert accounts_with_it(organisation.partner_desk) == 0
        page.goto(reverse("console:rollout", args=[change.pk]))
        expect(page.locator("#rollout-tag")).to_contain_text("Undone")


def test_an_account_is_found_from_the_rollout_and_put_ahead(page, organisation, owner, super_admin):
    User.objects.filter(pk=owner.pk).update(cohort=12)
    change = save_value(user=super_admin, unit=organisation.sales)
    apply_waves(change, 2)
    page.goto(reverse("console:rollout", args=[change.pk]))
    page.get_by_label("Address, or how it begins").fill("user@")
    page.get_by_role("button", name="Look up").click()
    page.get_by_role("link", name=owner.primary_address).click()
    expect(page.get_by_role("heading", name="Not yet: it may use own servers by")).to_be_visible()
    page.get_by_role("link", name="Apply now to this account").click()
    page.get_by_role("button", name="Apply everything now").click()
    expect(page.get_by_role("heading", name="It may use own servers")).to_be_visible()


def make_accounts(unit):
    """One of each cohort."""
    for cohort in range(1, ACCOUNTS + 1):
        address = f"person-{cohort}@yourdomain.com"
        user = create_user(actor=SYSTEM, primary_address=address, name="Person", unit=unit)
        User.objects.filter(pk=user.pk).update(cohort=cohort)


def accounts_with_it(unit):
    return sum(
        applied_value(unit.path, cohort, GATEWAY).allowed for cohort in range(1, ACCOUNTS + 1)
    )


def test_signing_in_takes_only_what_is_typed(live_server, super_admin, settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    give_second_factor(super_admin)
    with chromium() as browser:
        page = browser.new_page(base_url=live_server.url)
        page.goto("/sign-in/")
        expect(page.get_by_label("Address")).to_be_focused()
        page.keyboard.type(super_admin.primary_address)
        page.keyboard.press("Tab")
        expect(page.get_by_label("Password")).to_be_focused()
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_label("Code")).to_be_focused()
        page.keyboard.type(code_now(SECRET))
        page.keyboard.press("Enter")
        page.wait_for_url("**/console/")

"""What the person's pages do by themselves, in a real browser."""

from collections.abc import Iterator

import pytest
from django.db.models.functions import Now
from playwright.sync_api import Page, expect, sync_playwright

from policies.services import apply_wave
from sendas.services.proof import send_proof
from tests.browser import CHROMIUM, QUIET
from tests.conftest import PASSWORD
from tests.console.rows import save_value
from tests.sendas.conftest import make_pending

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server, owner, settings, monkeypatch) -> Iterator[Page]:
    """The owner, signed in."""
    settings.ALLOWED_HOSTS = ["localhost"]
    # Playwright's loop runs in this thread, where Django would look for a coroutine's mistake.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(base_url=live_server.url)
        page.goto("/sign-in/")
        page.get_by_label("Address").fill(owner.primary_address)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/settings/")
        yield page
        browser.close()


def test_the_list_changes_by_itself_and_leaves_what_is_being_typed(
    page, owner, super_admin, organisation
):
    send_proof(make_pending(owner))
    change = save_value(user=super_admin, unit=organisation.sales)
    page.reload()
    expect(page.get_by_text("allowed, but not on your account yet")).to_be_visible()
    code = page.locator("input[name=code]")
    code.click()
    page.keyboard.type("12 34")
    change.waves.update(due_at=Now())
    assert apply_wave(change.waves.get(cohort=owner.cohort).pk)
    expect(page.get_by_text("are allowed on your account since")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("not on your account yet")).to_have_count(0)
    page.keyboard.type("56")
    expect(code).to_have_value("12 3456")


def test_a_double_click_sends_a_form_once(page, owner):
    page.goto("/settings/app-passwords/")
    page.get_by_label("Mail program").fill("Phone")
    page.get_by_role("button", name="Create an app password").dblclick()
    expect(page.get_by_text("is ready")).to_be_visible()
    assert owner.app_passwords.count() == 1


def test_what_belongs_to_the_other_route_is_not_shown(page, owner, super_admin, organisation):
    change = save_value(user=super_admin, unit=organisation.sales)
    change.waves.update(due_at=Now())
    assert apply_wave(change.waves.get(cohort=owner.cohort).pk)
    page.goto("/settings/send-as/add/")
    page.get_by_label("Address").fill("user.name@partnerdomain.com")
    page.get_by_role("button", name="Continue").click()
    server = page.get_by_label("Server", exact=True)
    expect(server).to_be_visible()
    page.get_by_label("By our servers").check()
    expect(server).to_be_hidden()
    page.get_by_role("button", name="Add and send the code").click()
    expect(page.get_by_text("Waiting for proof")).to_be_visible()

"""What the administrators' pages do by themselves, in a real browser."""

from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import CHROMIUM, QUIET
from tests.conftest import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server, super_admin, settings, monkeypatch) -> Iterator[Page]:
    """The super administrator, signed in."""
    settings.ALLOWED_HOSTS = ["localhost"]
    # Playwright's loop runs in this thread, where Django would look for a coroutine's mistake.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(base_url=live_server.url)
        page.goto("/sign-in/")
        page.get_by_label("Address").fill(super_admin.primary_address)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/console/")
        yield page
        browser.close()


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

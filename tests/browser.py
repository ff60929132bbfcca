"""How the tests start Debian's Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from accounts.models import User
from config.demo_page import code_now
from tests.conftest import PASSWORD
from tests.second_factors import SECRET

CHROMIUM = "/usr/bin/chromium"
# Debian's Chromium looks for Google's hosts at every start otherwise.
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]


@contextmanager
def chromium() -> Iterator[Browser]:
    # Playwright's loop runs in this thread, where Django would look for a coroutine's mistake.
    with pytest.MonkeyPatch.context() as patched, sync_playwright() as playwright:
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()
        # Inside Playwright's loop Django has a connection of its own. The next browser test would
        # find it again, and fail where a test in between cut every connection.
        connection.close()


def sign_in(page: Page, address: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Address").fill(address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def sign_in_with_code(page: Page, user: User) -> None:
    """Who has a second factor, through both pages."""
    sign_in(page, user.primary_address)
    page.get_by_label("Code").fill(code_now(SECRET))
    page.get_by_role("button", name="Sign in", exact=True).click()


def press_until_focused(page: Page, key: str, target: Locator) -> None:
    """By that key alone, from wherever the focus is."""
    for _ in range(80):
        page.keyboard.press(key)
        if target.evaluate("element => element === document.activeElement"):
            return
    expect(target).to_be_focused()


def tab_to(page: Page, target: Locator) -> None:
    press_until_focused(page, "Tab", target)

"""The main job on a running `make up`: a browser, a mail program, two mail servers, no shortcut.

The code is read from the captured verification mail, never from the database.
"""

import mailbox
import re
import subprocess
import time
from collections.abc import Iterator
from email.message import Message
from functools import cached_property
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.config.running import Up, free_ports
from tests.processes import until
from tests.services import DATA_DIR

USER, JONAS = "user@yourdomain.com", "jonas.berg@yourdomain.com"
PARTNER = "user.name@partnerdomain.com"
RECIPIENT = "claire@customer.example"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Demo:
    """A running copy, seen from outside: its pages, its submission port, the captured mail."""

    def __init__(self, up: Up, browser: Browser) -> None:
        self.facts = up.demo
        self.browser = browser
        self.accounts = {each["address"]: each for each in self.facts["accounts"]}

    def captured(self, server: str) -> list[Message]:
        box = mailbox.Maildir(self.facts["maildirs"][server], create=False)
        return [box[key] for key in sorted(box.keys())]

    def clear(self) -> None:
        for folder in self.facts["maildirs"].values():
            for path in (Path(folder) / "new").iterdir():
                path.unlink()

    def sign_in(self, address: str) -> Page:
        context = self.browser.new_context(
            base_url=self.facts["base_url"], viewport={"width": 1280, "height": 900}
        )
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Address").fill(address)
        page.get_by_label("Password").fill(self.accounts[address]["web_password"])
        page.get_by_role("button", name="Sign in").click()
        secret = self.accounts[address]["totp_secret"]
        if secret:
            # As a newcomer finds it: by the link beside the field.
            with page.expect_popup() as popup:
                page.get_by_role("link", name="see its people’s codes").click()
            codes = popup.value
            code = codes.locator(f"dt:has-text('{address}') + dd").inner_text()
            codes.close()
            page.get_by_label("Code").fill(code)
            page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page).not_to_have_url(re.compile("sign-in"))
        return page

    @cached_property
    def administrator(self) -> Page:
        """Signed in once: a code opens once, and the next one is up to half a minute away."""
        return self.sign_in("mina.kato@yourdomain.com")

    def send(self, account: str, from_address: str) -> subprocess.CompletedProcess[str]:
        """The command that docs and demo page give people."""
        door = self.facts["submission"]
        command = [
            "swaks", "--server", door["host"], "--port", str(door["port"]), "--tls",
            "--tls-verify", "--tls-ca-path", self.facts["ca_file"], "--auth", "PLAIN",
            "--auth-user", account, "--auth-password", self.accounts[account]["app_password"],
            "--from", from_address, "--to", RECIPIENT, "--header", "Subject: Offer",
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def arrived(self, account: str, from_address: str) -> tuple[str, Message]:
        """Send one message; the one server that has it, and the message."""
        self.clear()
        done = self.send(account, from_address)
        assert done.returncode == 0, done.stdout + done.stderr
        found = [(server, mail) for server in ("ours", "partner") for mail in self.captured(server)]
        assert len(found) == 1
        return found[0]

    def newest_code(self) -> str:
        def mails() -> list[Message]:
            return [mail for mail in self.captured("ours") if mail["X-Envelope-To"] == PARTNER]

        until(mails, 10)
        text = next(
            part.get_payload(decode=True).decode()
            for part in mails()[-1].walk()
            if part.get_content_type() == "text/plain"
        )
        match = re.search(r"^\s*(\d{4} \d{4})\s*$", text, re.MULTILINE)
        assert match, text
        return match[1]


@pytest.fixture
def demo() -> Iterator[Demo]:
    """A fresh copy for each test: each begins with the policy off."""
    data_dir = DATA_DIR / f"main-flow-{time.time_ns()}"
    up = Up(data_dir, free_ports(), {"OUTGATE_ROLLOUT_WINDOW": "8"})
    up.start()
    try:
        with chromium() as browser:
            yield Demo(up, browser)
    finally:
        up.stop()


def set_policy(demo: Demo, *, allowed: bool) -> None:
    """The administrator ticks the checkbox, saves, and watches until everybody has it."""
    page = demo.administrator
    page.goto("/console/")
    page.get_by_role("link", name="Mail", exact=True).first.click()
    page.get_by_role("link", name="Advanced settings").first.click()
    for unit in ("Sales", "Partner desk"):
        page.get_by_role("treeitem", name=re.compile(unit)).click()
        expect(page.get_by_role("heading", name=unit)).to_be_visible()
    page.get_by_label("Override").check()
    page.get_by_label("Allow per-user outbound gateways").set_checked(allowed)
    page.get_by_role("button", name="Save").click()
    bar = page.locator(".save-bar")
    expect(bar).to_contain_text("Saved at")
    expect(bar).to_contain_text(re.compile(r"everyone has it by [\w ,]*\d\d:\d\d"))
    # Moves by itself: nothing on the page is touched from here on.
    expect(bar).to_contain_text("everyone has it since", timeout=30_000)


def add_server(page: Page, demo: Demo, *, password: str | None = None) -> None:
    partner = demo.facts["partner"]
    page.get_by_label("Through the address’s own server").check()
    page.get_by_label("Server", exact=True).fill(partner["host"])
    page.get_by_label("Port").select_option(str(partner["port"]))
    page.get_by_label("Encryption").select_option(partner["security"])
    page.get_by_role("textbox", name="User name").fill(partner["username"])
    page.get_by_label("Password").fill(password or partner["password"])


def confirm(page: Page, demo: Demo) -> None:
    expect(page.get_by_role("heading", name=f"Prove that {PARTNER} is yours")).to_be_visible()
    page.get_by_label(f"Code for {PARTNER}").fill(demo.newest_code())
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("is yours and can be chosen as From at once")).to_be_visible()


def test_off_then_on_then_off_the_same_command_takes_the_server_that_policy_says(demo):
    assert demo.send(USER, PARTNER).returncode != 0
    assert demo.captured("ours") == demo.captured("partner") == []

    page = demo.sign_in(USER)
    page.get_by_role("link", name="Add another address").click()
    page.get_by_role("textbox", name="Name").fill("User Name")
    page.get_by_label("Address").fill(PARTNER)
    page.get_by_role("button", name="Add and send the code").click()
    confirm(page, demo)

    server, message = demo.arrived(USER, PARTNER)
    assert (server, message["X-Envelope-From"], message["Sender"]) == ("ours", USER, USER)

    set_policy(demo, allowed=True)
    page.goto("/settings/")
    page.get_by_role("link", name=f"Edit {PARTNER}").click()
    add_server(page, demo, password="not the password")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("does not accept this user name and password").first).to_be_visible()
    expect(page.get_by_label("Server", exact=True)).to_have_value(demo.facts["partner"]["host"])
    expect(page.get_by_label("Password")).to_have_value("")
    page.get_by_label("Password").fill(demo.facts["partner"]["password"])
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"through {demo.facts['partner']['host']}").first).to_be_visible()

    server, message = demo.arrived(USER, PARTNER)
    assert (server, message["X-Envelope-From"], message["Sender"]) == ("partner", PARTNER, None)
    assert USER not in message.as_string()

    set_policy(demo, allowed=False)
    server, message = demo.arrived(USER, PARTNER)
    assert (server, message["X-Envelope-From"], message["Sender"]) == ("ours", USER, USER)


def test_another_person_sets_up_an_address_with_its_server_and_the_demo_page_shows_both_lanes(demo):
    set_policy(demo, allowed=True)
    demo.clear()
    page = demo.sign_in(JONAS)
    page.get_by_role("link", name="Add another address").click()
    page.get_by_role("textbox", name="Name").fill("Jonas Berg")
    page.get_by_label("Address").fill(PARTNER)
    page.get_by_role("button", name="Continue").click()
    add_server(page, demo)
    page.get_by_role("button", name="Test and continue").click()
    confirm(page, demo)
    server, message = demo.arrived(JONAS, PARTNER)
    assert (server, message["X-Envelope-From"], message["Sender"]) == ("partner", PARTNER, None)
    assert JONAS not in message.as_string()

    demo.clear()
    for address in (JONAS, PARTNER):
        assert demo.send(JONAS, address).returncode == 0
    page.goto("/demo/")
    ours, partner = page.locator(".lane-ours"), page.locator(".lane-partner")
    expect(ours).to_have_count(1)
    expect(partner).to_have_count(1)
    expect(ours).to_contain_text("primary address")
    expect(partner).to_contain_text("Gateways are on")
    expect(partner).to_contain_text("none")

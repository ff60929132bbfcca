"""What the person's pages do by themselves, in a real browser."""

import contextlib
import html
import re
from collections.abc import Iterator

import pytest
from django.db.models.functions import Now
from playwright.sync_api import Page, expect

from sendas.models import ConnectionTest
from sendas.services.proof import send_proof
from tests.browser import chromium
from tests.conftest import PASSWORD
from tests.console.rows import save_value
from tests.policies.rows import apply_wave
from tests.sendas.bad_servers import BAD_SERVERS
from tests.sendas.conftest import CANARY, PARTNER, make_pending
from tests.smtp.certificates import Authority

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server, owner, settings) -> Iterator[Page]:
    """The owner, signed in."""
    settings.ALLOWED_HOSTS = ["localhost"]
    with chromium() as browser:
        page = browser.new_page(base_url=live_server.url)
        page.goto("/sign-in/")
        page.get_by_label("Address").fill(owner.primary_address)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/settings/")
        yield page


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


@pytest.fixture
def wizard(page, owner, super_admin, organisation) -> Page:
    """At the second step of adding the partner's address, by the buttons alone."""
    change = save_value(user=super_admin, unit=organisation.sales)
    change.waves.update(due_at=Now())
    assert apply_wave(change.waves.get(cohort=owner.cohort).pk)
    page.goto("/settings/")
    page.get_by_role("link", name="Add another address").click()
    page.get_by_label("Address", exact=True).fill(PARTNER)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name=f"Add {PARTNER}")).to_be_visible()
    return page


def try_server(page: Page, port: int) -> None:
    page.get_by_label("Server", exact=True).fill("localhost")
    page.get_by_label("Port").select_option(str(port))
    page.get_by_label("User name").fill(PARTNER)
    page.get_by_label("Password").fill(CANARY)
    page.get_by_role("button", name="continue").click()


def test_the_wizard_on_a_good_server(wizard, partner, mailoutbox):
    wizard.reload()
    expect(wizard.get_by_text("Your address at yourdomain.com does not appear")).to_be_visible()
    try_server(wizard, partner.port)
    expect(wizard.get_by_text("Waiting for proof")).to_be_visible()
    code = re.search(r"\b\d{4} ?\d{4}\b", mailoutbox[0].body)[0]
    wizard.get_by_label(f"Code for {PARTNER}").fill(code)
    wizard.get_by_role("button", name="Confirm").click()
    expect(wizard.get_by_text("is yours and can be chosen as From at once")).to_be_visible()
    expect(wizard.get_by_text("through localhost")).to_be_visible()


def test_the_wizard_on_each_bad_server(wizard, trusted, open_ports, tmp_path):
    other = Authority(tmp_path)
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(bad.opened(trusted, other)) for bad in BAD_SERVERS]
        open_ports(*ports)
        wizard.reload()
        for bad, port in zip(BAD_SERVERS, ports, strict=True):
            ConnectionTest.objects.all().delete()
            try_server(wizard, port)
            test = wizard.locator(".ladder .rung-bad")
            expect(test).to_contain_text(html.unescape(bad.words))
            expect(wizard.get_by_label("Server", exact=True)).to_have_value("localhost")
            expect(wizard.get_by_label("Password")).to_have_value("")
            assert CANARY not in wizard.content()
    wizard.get_by_label("Server", exact=True).fill("no-such-host.example")
    wizard.get_by_label("Password").fill(CANARY)
    wizard.get_by_role("button", name="continue").click()
    test = wizard.locator(".ladder .rung-bad")
    expect(test).to_contain_text("No public server has the name no-such-host.example")
    test.get_by_role("link", name="What this means").click()
    expect(wizard.get_by_role("heading", name="No public server of that name")).to_be_visible()
    wizard.get_by_role("link", name="Send mail as", exact=True).click()
    expect(wizard.get_by_text("Not finished")).to_be_visible()
    wizard.get_by_role("link", name=f"Go on {PARTNER}").click()
    expect(wizard.get_by_role("heading", name=f"Add {PARTNER}")).to_be_visible()

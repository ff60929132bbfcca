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
from tests.browser import chromium, sign_in, tab_to
from tests.console.rows import save_value
from tests.policies.rows import apply_wave
from tests.sendas.bad_servers import BAD_SERVERS
from tests.sendas.conftest import CANARY, PARTNER, make_pending, make_send_as
from tests.smtp.certificates import Authority

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server, owner, settings) -> Iterator[Page]:
    """The owner, signed in."""
    settings.ALLOWED_HOSTS = ["localhost"]
    with chromium() as browser:
        page = browser.new_page(base_url=live_server.url)
        sign_in(page, owner.primary_address)
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
    expect(page.get_by_text("may use their own SMTP servers")).to_be_visible(timeout=15_000)
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
    expect(page.get_by_role("heading", name="Prove that user.name@partner")).to_be_visible()


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


def test_the_encryption_follows_the_port_until_it_is_chosen(wizard):
    port, security = wizard.get_by_label("Port"), wizard.get_by_label("Encryption")
    expect(security).to_have_value("starttls")
    port.select_option("465")
    expect(security).to_have_value("ssl")
    port.select_option("587")
    expect(security).to_have_value("starttls")
    security.select_option("ssl")
    port.select_option("465")
    port.select_option("587")
    expect(security).to_have_value("ssl")


def code_in(mail) -> str:
    return re.search(r"\b\d{4} ?\d{4}\b", mail.body)[0]


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
    expect(wizard.get_by_role("heading", name=f"Prove that {PARTNER} is yours")).to_be_visible()
    wizard.get_by_label(f"Code for {PARTNER}").fill(code_in(mailoutbox[0]))
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


PHONE = {"width": 390, "height": 844}


def test_an_address_is_added_by_the_keyboard_alone_on_a_narrow_page(
    page, owner, allowed, partner, mailoutbox
):
    page.set_viewport_size(PHONE)
    for number in range(6):
        make_send_as(owner, address=f"{number}@partnerdomain.com")
    page.reload()
    keys = page.keyboard
    tab_to(page, page.get_by_role("link", name="Add another address"))
    keys.press("Enter")
    expect(page.get_by_label("Address", exact=True)).to_be_focused()
    keys.press("Enter")
    refusal = page.locator("main .notice-bad")
    expect(refusal).to_be_focused()
    expect(refusal).to_be_in_viewport(ratio=1)
    keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_label("Address", exact=True)).to_be_focused()
    keys.type(PARTNER)
    keys.press("Enter")
    expect(page.get_by_role("heading", name=f"Add {PARTNER}")).to_be_visible()
    tab_to(page, page.get_by_label("Through the address’s own server"))
    tab_to(page, page.get_by_label("Server", exact=True))
    keys.type("localhost")
    tab_to(page, page.get_by_label("Port"))
    keys.type(str(partner.port))
    expect(page.get_by_label("Port")).to_have_value(str(partner.port))
    tab_to(page, page.get_by_label("Password"))
    keys.type("wrong")
    keys.press("Enter")
    expect(refusal).to_contain_text("localhost does not accept")
    expect(refusal).to_be_focused()
    tab_to(page, page.get_by_label("Password"))
    keys.type(CANARY)
    keys.press("Enter")
    code = page.get_by_label(f"Code for {PARTNER}")
    expect(code).to_be_focused()
    expect(code).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("localhost accepted the password")).to_be_in_viewport(ratio=1)
    keys.type("1234")
    keys.press("Enter")
    expect(code).to_have_attribute("aria-invalid", "true")
    expect(code).to_be_focused()
    expect(page.get_by_text("The code has 8 digits")).to_be_in_viewport(ratio=1)
    keys.press("Control+a")
    keys.type(code_in(mailoutbox[0]))
    keys.press("Enter")
    done = page.get_by_text("is yours and can be chosen as From at once")
    expect(done).to_be_in_viewport(ratio=1)


def test_back_from_another_tab_the_code_can_be_typed_at_once(page, owner):
    row = make_pending(owner)
    send_proof(row)
    page.goto(f"/settings/send-as/{row.pk}/prove/")
    code = page.get_by_label(f"Code for {PARTNER}")
    page.get_by_role("link", name="Help with the proof").focus()
    expect(code).not_to_be_focused()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(code).to_be_focused()


def test_an_address_is_added_without_scripts(page, owner, allowed, partner, mailoutbox):
    context = page.context.browser.new_context(
        base_url=page.url.split("/settings")[0],
        storage_state=page.context.storage_state(),
        java_script_enabled=False,
        viewport=PHONE,
    )
    for number in range(6):
        make_send_as(owner, address=f"{number}@partnerdomain.com")
    plain = context.new_page()
    plain.goto("/settings/send-as/add/")
    plain.get_by_label("Address", exact=True).fill(PARTNER)
    plain.get_by_role("button", name="Continue").click()
    try_server(plain, partner.port)
    code = plain.get_by_label(f"Code for {PARTNER}")
    expect(code).to_be_focused()
    expect(code).to_be_in_viewport(ratio=1)
    code.fill("1234")
    code.press("Enter")
    expect(code).to_be_focused()
    expect(plain.get_by_text("The code has 8 digits")).to_be_in_viewport(ratio=1)
    code.fill(code_in(mailoutbox[0]))
    code.press("Enter")
    expect(plain.get_by_text("is yours and can be chosen as From at once")).to_be_visible()


def test_the_current_and_the_focused_tab_show_where_the_page_is_narrow(page):
    page.set_viewport_size(PHONE)
    for name in ["App passwords", "Account", "Send mail as"]:
        tab = page.locator(".tabs").get_by_role("link", name=name)
        tab_to(page, tab)
        expect(tab).to_be_in_viewport(ratio=1)
        page.keyboard.press("Enter")
        expect(tab).to_have_attribute("aria-current", "page")
        expect(tab).to_be_in_viewport(ratio=1)

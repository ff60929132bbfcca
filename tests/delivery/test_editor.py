"""The editor of the compose page in a real browser: formatted text leaves in two forms."""

import re
from email import message_from_bytes, policy
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from tests.browser import press_until_focused, tab_to
from tests.delivery.outbox import deliver
from tests.delivery.test_in_browser import page

__all__ = ["page"]
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def letter(page: Page) -> Page:
    """The page to write a message, with its editor ready."""
    page.refused = []
    page.on(
        "console", lambda said: page.refused.append(said.text) if said.type == "error" else None
    )
    page.get_by_role("link", name="Compose").click()
    page.get_by_label("To (").fill("Claire <claire@customer.example>")
    expect(page.locator("trix-editor")).to_be_visible()
    return page


def sent(page: Page, relay):
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    worker = Thread(target=deliver)
    worker.start()
    worker.join()
    [taken] = relay.taken
    return message_from_bytes(taken.content.removesuffix(b".\r\n"), policy=policy.default)


def test_bold_text_arrives_formatted_and_as_plain_text(letter, relay):
    editor = letter.locator("trix-editor")
    editor.click()
    letter.keyboard.type("Dear ")
    # Written at a person's pace: Trix draws between two keys.
    expect(letter.locator("#id_html")).to_have_value(re.compile("Dear"))
    letter.get_by_role("button", name="Bold").click()
    expect(letter.get_by_role("button", name="Bold")).to_have_attribute("aria-pressed", "true")
    letter.keyboard.type("Claire")
    expect(letter.locator("#id_html")).to_have_value(re.compile("<strong>Claire</strong>"))
    message = sent(letter, relay)
    assert message.get_content_type() == "multipart/alternative"
    plain, formatted = message.iter_parts()
    assert plain.get_content().strip() == "Dear Claire"
    assert "<strong>Claire</strong>" in formatted.get_content()
    # Nothing on the page was refused by its own Content-Security-Policy.
    assert letter.refused == []


def test_the_keyboard_reaches_the_toolbar_and_sets_a_link(letter, relay):
    letter.get_by_role("button", name="Bold").focus()
    letter.keyboard.press("Enter")
    expect(letter.locator("trix-editor")).to_be_focused()
    letter.keyboard.type("x")
    expect(letter.locator("#id_html")).to_have_value(re.compile("<strong>x</strong>"))
    letter.keyboard.press("Control+k")
    letter.get_by_label("Address of the link").fill("https://offer.example/")
    letter.keyboard.press("Enter")
    expect(letter.locator("#id_html")).to_have_value(re.compile("href"))
    plain, formatted = sent(letter, relay).iter_parts()
    # With nothing selected the address is the text, too.
    assert plain.get_content().strip() == "xhttps://offer.example/"
    assert '<a href="https://offer.example/">' in formatted.get_content()


def test_keys_make_text_bold_and_tab_leaves_the_editor(letter):
    editor, html = letter.locator("trix-editor"), letter.locator("#id_html")
    bold = letter.get_by_role("button", name="Bold")
    letter.get_by_label("Subject").focus()
    letter.keyboard.press("Tab")
    expect(bold).to_be_focused()
    letter.keyboard.press("Tab")
    expect(editor).to_be_focused()
    letter.keyboard.type("a")
    expect(html).to_have_value("<div>a</div>")
    letter.keyboard.press("Control+b")
    expect(bold).to_have_attribute("aria-pressed", "true")
    letter.keyboard.type("b")
    expect(html).to_have_value(re.compile("a<strong>b</strong>"))
    letter.keyboard.press("Control+b")
    expect(bold).to_have_attribute("aria-pressed", "false")
    letter.keyboard.type("c")
    expect(html).to_have_value(re.compile("<strong>b</strong>c"))
    letter.keyboard.press("Tab")
    expect(letter.get_by_label("Attachments")).to_be_focused()
    letter.keyboard.press("Shift+Tab")
    expect(editor).to_be_focused()
    letter.keyboard.press("Shift+Tab")
    expect(bold).to_be_focused()
    # Tab wrote nothing into the text.
    expect(editor).to_have_text("abc")


def test_tab_makes_an_item_of_a_list_deeper_and_then_leaves_the_editor(letter):
    editor, html = letter.locator("trix-editor"), letter.locator("#id_html")
    tab_to(letter, letter.get_by_role("button", name="Bold"))
    item = letter.get_by_role("button", name="List", exact=True)
    press_until_focused(letter, "ArrowRight", item)
    letter.keyboard.press("Enter")
    expect(editor).to_be_focused()
    letter.keyboard.type("x")
    expect(html).to_have_value(re.compile("<li>x</li>"))
    letter.keyboard.press("Enter")
    letter.keyboard.type("y")
    expect(html).to_have_value(re.compile("<li>y</li>"))
    letter.keyboard.press("Tab")
    expect(html).to_have_value(re.compile("<li>x<ul><li>y</li></ul></li>"))
    expect(editor).to_be_focused()
    letter.keyboard.press("Tab")
    expect(letter.get_by_label("Attachments")).to_be_focused()


def test_the_toolbar_stays_in_reach_when_its_button_can_do_nothing_more(letter):
    editor, html = letter.locator("trix-editor"), letter.locator("#id_html")
    bold = letter.get_by_role("button", name="Bold")
    undo = letter.get_by_role("button", name="Undo")
    editor.click()
    letter.keyboard.type("x")
    expect(html).to_have_value("<div>x</div>")
    letter.keyboard.press("Shift+Tab")
    expect(bold).to_be_focused()
    # Backwards from the first button is the last one.
    press_until_focused(letter, "ArrowLeft", undo)
    letter.keyboard.press("Enter")
    expect(html).to_have_value("")
    expect(undo).to_be_disabled()
    letter.get_by_label("Attachments").focus()
    letter.keyboard.press("Shift+Tab")
    expect(editor).to_be_focused()
    letter.keyboard.press("Shift+Tab")
    expect(bold).to_be_focused()


def test_text_without_formats_leaves_as_plain_text_alone(letter, relay):
    letter.goto("/compose/?to=claire@customer.example&body=First%0A%0ASecond")
    expect(letter.locator("trix-editor")).to_contain_text("Second")
    message = sent(letter, relay)
    assert message.get_content_type() == "text/plain"
    assert message.get_content().split("\r\n") == ["First", "", "Second", ""]


def test_a_refused_message_comes_back_with_its_formats(letter):
    letter.get_by_label("To (").fill("")
    letter.locator("trix-editor").click()
    letter.get_by_role("button", name="Bold").click()
    letter.keyboard.type("My letter")
    letter.get_by_role("button", name="Send").click()
    expect(letter.get_by_role("alert").first).to_contain_text("Type at least one address")
    expect(letter.locator("trix-editor strong")).to_have_text("My letter")
    expect(letter.get_by_role("textbox", name="Text")).to_be_visible()


def test_without_the_script_there_is_a_plain_box(page, relay):
    storage = page.context.storage_state()
    context = page.context.browser.new_context(
        base_url=page.url.split("/settings")[0], storage_state=storage, java_script_enabled=False
    )
    plain = context.new_page()
    plain.goto("/compose/")
    plain.get_by_label("To (").fill("Claire <claire@customer.example>")
    plain.get_by_label("Text", exact=False).first.fill("My letter")
    expect(plain.locator("trix-editor")).to_be_hidden()
    message = sent(plain, relay)
    assert message.get_content_type() == "text/plain"

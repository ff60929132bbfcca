"""Writing a message in a real browser: nothing chosen is lost, and its state changes by itself."""

from collections.abc import Iterator
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from accounts.services.audit import SYSTEM
from delivery.models import OutboxMessage
from sendas.services.addresses import set_gateway
from tests.browser import chromium, sign_in
from tests.delivery.outbox import deliver
from tests.sendas.conftest import PARTNER, gateway_at, make_send_as

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(live_server, owner, settings, allowed, partner) -> Iterator[Page]:
    """The owner, signed in, with an address that has its own server."""
    settings.ALLOWED_HOSTS = ["localhost"]
    set_gateway(actor=SYSTEM, send_as=make_send_as(owner), gateway=gateway_at(partner.port))
    with chromium() as browser:
        page = browser.new_page(base_url=live_server.url)
        sign_in(page, owner.primary_address)
        page.wait_for_url("**/settings/")
        yield page


def test_a_message_is_written_refused_mended_sent_and_followed(page, relay):
    page.get_by_role("link", name="Compose").click()
    expect(page.locator("[data-route-of]:visible")).to_have_text("by our servers")
    page.get_by_label("From", exact=True).select_option(PARTNER)
    expect(page.locator("[data-route-of]:visible")).to_have_text("through localhost")
    page.get_by_label("From", exact=True).select_option("user@yourdomain.com")
    page.get_by_label("Subject").fill("Offer")
    page.locator("trix-editor").fill("My letter")
    page.get_by_label("Attachments").set_input_files(
        {"name": "offer.pdf", "mimeType": "application/pdf", "buffer": b"x" * 300_000}
    )
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert").first).to_contain_text("Type at least one address")
    expect(page.get_by_role("alert").first).to_be_focused()
    expect(page.get_by_role("alert").first).to_be_in_viewport(ratio=1)
    assert page.get_by_label("Attachments").evaluate("input => input.files[0].name") == "offer.pdf"
    expect(page.get_by_text("Choose the attachments again")).to_have_count(0)
    expect(page.locator("trix-editor")).to_have_text("My letter")
    page.get_by_label("To (").fill("Claire <claire@customer.example>")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("you were signed out while you wrote")).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Sign in in a new tab").click()
    sign_in(opened.value, "user@yourdomain.com")
    opened.value.wait_for_url("**/settings/")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    expect(page.get_by_text("Waiting")).to_be_visible()
    worker = Thread(target=deliver)
    worker.start()
    expect(page.get_by_text("Reply of the server: 250 2.0.0 Taken as 4Xk2")).to_be_visible()
    worker.join()
    assert len(relay.taken) == 1
    assert b"offer.pdf" in relay.taken[0].content
    assert OutboxMessage.objects.get().state == "sent"


def test_too_many_or_too_large_files_are_told_before_they_are_sent(page, settings):
    page.get_by_role("link", name="Compose").click()
    page.get_by_label("To (").fill("Claire <claire@customer.example>")
    posted = []
    page.on("request", lambda request: posted.append(request) if request.method == "POST" else None)
    files = [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b"x"} for n in range(101)]
    page.get_by_label("Attachments").set_input_files(files)
    expect(page.get_by_text("A message takes 100 attachments.")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Attachments")).to_be_focused()
    assert posted == []
    page.get_by_label("Attachments").set_input_files(files[:2])
    expect(page.get_by_text("A message takes 100 attachments.")).to_be_hidden()
    # Whoever leaves is asked.
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("link", name="App passwords").click(no_wait_after=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    expect(page.get_by_label("To (")).to_have_value("Claire <claire@customer.example>")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    assert OutboxMessage.objects.count() == 1


def run_worker() -> None:
    """In a thread of its own: the browser's event loop has this one."""
    worker = Thread(target=deliver)
    worker.start()
    worker.join()


def test_a_failed_message_is_opened_again_and_goes_out_as_it_was_formatted(page, relay):
    relay.answers["RCPT"] = b"550 5.1.1 Nobody of that name\r\n"
    page.get_by_role("link", name="Compose").click()
    page.get_by_label("To (").fill("clara@customer.example")
    page.locator("trix-editor").click()
    page.get_by_role("button", name="Bold").click()
    page.keyboard.type("My letter")
    files = [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b"x" * 9} for n in range(2)]
    page.get_by_label("Attachments").set_input_files(files)
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    run_worker()
    relay.answers.clear()
    relay.taken.clear()
    page.get_by_role("link", name="Edit and send again").click()
    expect(page.locator("trix-editor strong")).to_have_text("My letter")
    page.get_by_label("To (").fill("")
    page.get_by_label("1.txt").uncheck()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert").first).to_contain_text("Type at least one address")
    expect(page.locator("trix-editor strong")).to_have_text("My letter")
    page.get_by_label("To (").fill("claire@customer.example")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    expect(page.get_by_text("Edit and send again")).to_have_count(0)
    run_worker()
    [content] = [taken.content for taken in relay.taken if taken.sender]
    assert b"<strong>My letter</strong>" in content
    assert b"0.txt" in content
    assert b"1.txt" not in content


def test_attachments_of_a_message_opened_again_count_before_anything_is_sent(page, relay, settings):
    relay.answers["RCPT"] = b"550 5.1.1 Nobody of that name\r\n"
    page.get_by_role("link", name="Compose").click()
    page.get_by_label("To (").fill("claire@customer.example")
    files = [
        {"name": f"{n}.bin", "mimeType": "application/octet-stream", "buffer": b"x" * 60_000}
        for n in range(3)
    ]
    page.get_by_label("Attachments").set_input_files(files[:2])
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    run_worker()
    # Attachments have room for about 131,000 octets.
    settings.OUTGATE_MESSAGE_SIZE = 102_400 + 180_000
    page.get_by_role("link", name="Edit and send again").click()
    posted = []
    page.on("request", lambda request: posted.append(request) if request.method == "POST" else None)
    chosen = page.locator("[type=file]")
    chosen.set_input_files(files[2])
    too_large = page.get_by_text("The message would be larger than a message may be.")
    expect(too_large).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(chosen).to_be_focused()
    assert posted == []
    page.get_by_label("0.bin").uncheck()
    expect(too_large).to_be_hidden()
    page.get_by_label("0.bin").check()
    expect(too_large).to_be_visible()
    page.get_by_label("0.bin").uncheck()
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/compose/outgoing/")
    assert len(posted) == 1
    assert OutboxMessage.objects.count() == 3

"""Writing a message on the page: what is kept, what is refused, and that nothing typed is lost."""

import html
import re
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.services.audit import SYSTEM
from accounts.services.people import add_alias
from delivery.models import LimitReport, OutboxChunk, OutboxMessage, RecipientCount
from delivery.outbox import read_chunk
from policies.models import AppliedPolicy, GatewayFailure, Setting
from sendas.models import ReplyFrom, SmtpMsa
from sendas.services.addresses import (
    Details,
    Signature,
    change_details,
    choose_reply_from,
    set_gateway,
)
from sendas.services.breaker import record_refusal
from tests.sendas.conftest import PARTNER, gateway_at, make_pending, make_send_as

COMPOSE = "/compose/"
CLAIRE = "claire@customer.example"


@pytest.fixture
def send(client, owner):
    """Posts what a person typed; the answer."""
    client.force_login(owner)

    def post(**typed):
        fields = {
            "number": str(uuid4()), "sender": owner.primary_address, "to": CLAIRE,
            "subject": "Offer", "text": "Text",
        }  # fmt: skip
        return client.post(COMPOSE, fields | typed)

    return post


@pytest.fixture
def gateway(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway_at(partner.port))
    return send_as


def words(response) -> str:
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(html.unescape(text).split())


def content_of(message: OutboxMessage) -> bytes:
    count = OutboxChunk.objects.filter(message=message).count()
    return b"".join(read_chunk(message.pk, number).content for number in range(count))


def test_a_message_is_stored_encrypted_and_under_its_number(send, owner):
    number = str(uuid4())
    answer = send(
        number=number, to="Claire <Claire@customer.example>, bob@x.example; claire@y.example",
        cc="cc@x.example", bcc="secret@x.example", html="<p>Text</p>",
        attachments=[SimpleUploadedFile("a.txt", b"canary-content" * 9, "text/plain")],
    )  # fmt: skip
    assert (answer.status_code, answer.url) == (302, "/compose/outgoing/")
    message = OutboxMessage.objects.get(pk=number)
    assert (message.account, message.source, message.state) == (owner, "compose", "waiting")
    assert message.recipients == [
        "Claire@customer.example", "bob@x.example", "claire@y.example", "cc@x.example",
        "secret@x.example",
    ]  # fmt: skip
    stored = bytes(OutboxChunk.objects.get().ciphertext)
    assert b"Offer" not in stored
    content = content_of(message)
    assert b"Subject: Offer" in content
    assert b"secret@x.example" not in content
    assert message.size == len(content)
    assert message.message_id in content.decode()


def test_sent_again_under_the_same_number_it_is_stored_once(send):
    number = str(uuid4())
    assert [send(number=number).status_code for _ in range(2)] == [302, 302]
    assert OutboxMessage.objects.count() == 1
    assert RecipientCount.objects.get().recipients == 1


def test_name_and_reply_address_of_the_chosen_from_are_written(send, owner, gateway):
    details = Details("Ursula Name", "desk@yourdomain.com")
    change_details(actor=SYSTEM, user=owner, address=PARTNER, details=details)
    send(sender=PARTNER)
    content = content_of(OutboxMessage.objects.get())
    assert b'From: "Ursula Name" <user.name@partnerdomain.com>\r\n' in content
    assert b"Reply-To: desk@yourdomain.com\r\n" in content


def test_the_signature_of_the_chosen_from_goes_below_the_text(client, send, owner):
    client.force_login(owner)
    assert "signature of the address" not in words(client.get(COMPOSE))
    signature = Signature("<b>Yuki</b> &amp; Co.<br>Sales")
    details = Details("Yuki", "", signature=signature)
    change_details(actor=SYSTEM, user=owner, address=owner.primary_address, details=details)
    assert "With the signature of the address" in words(client.get(COMPOSE))
    send(html="<div><em>Text</em></div>", with_signature="on")
    content = content_of(OutboxMessage.objects.get())
    assert b"\r\nText\r\n\r\n-- \r\nYuki & Co.\r\nSales\r\n" in content
    assert b"<div>-- <br><b>Yuki</b> &amp; Co.<br>Sales</div>" in content
    OutboxMessage.objects.all().delete()
    send(text="Text", with_signature="")
    assert b"Yuki &" not in content_of(OutboxMessage.objects.get())


def test_each_usable_address_is_offered_with_its_route(client, owner, gateway):
    make_send_as(owner, address="second@partnerdomain.com")
    make_pending(owner, address="third@partnerdomain.com")
    add_alias(actor=SYSTEM, user=owner, address="sales@yourdomain.com")
    client.force_login(owner)
    page = client.get(COMPOSE)
    options = [html.unescape(o) for o in re.findall(r"<option[^>]*>(.*?)</option>",
                                                    page.content.decode(), re.DOTALL)]  # fmt: skip
    assert [option.split("<")[1] for option in options] == [
        "user@yourdomain.com> · by our servers",
        "sales@yourdomain.com> · by our servers",
        "user.name@partnerdomain.com> · through localhost",
        "second@partnerdomain.com> · by our servers, on behalf of user@yourdomain.com",
    ]
    assert "third@partnerdomain.com can't be chosen now." in words(page)


def test_an_address_whose_server_refuses_the_password_is_named_with_the_reason(
    client, send, owner, gateway
):
    record_refusal(credential_id=gateway.smtp_msa.credential_id, reply="535 5.7.8 No")
    page = client.get(COMPOSE)
    assert f"{PARTNER} can't be chosen now. localhost no longer accepts" in words(page)
    answer = send(sender=PARTNER)
    assert answer.status_code == 422
    assert f"Nothing can be sent from {PARTNER} at present" in words(answer)
    AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_FAILURE,
        value={"choice": GatewayFailure.HOLD.value}, version=1,
    )  # fmt: skip
    assert "held until its server works again" in words(client.get(COMPOSE))
    assert send(sender=PARTNER).status_code == 302
    SmtpMsa.objects.all().delete()


def test_a_reply_names_what_it_answers(client, send, owner):
    client.force_login(owner)
    page = client.get(
        f"{COMPOSE}?to=claire@customer.example&cc=b@x.example&subject=Re: Offer&body=Quote"
        "&from=user@yourdomain.com&in-reply-to=<2@x.example>&references=<1@x.example>"
    ).content.decode()
    for value in ("claire@customer.example", "Re: Offer", "&lt;2@x.example&gt;"):
        assert f'value="{value}"' in page
    assert "Quote</textarea>" in page
    send(in_reply_to="<2@x.example>", references="<1@x.example>")
    content = content_of(OutboxMessage.objects.get())
    assert b"In-Reply-To: <2@x.example>\r\n" in content
    assert b"References: <1@x.example>\r\n <2@x.example>\r\n" in content


def test_a_reply_is_written_from_the_default_address_where_that_was_chosen(client, owner):
    make_send_as(owner)
    client.force_login(owner)
    reply = f"{COMPOSE}?from={PARTNER}&in-reply-to=<1@x.example>"
    assert f'value="{PARTNER}" selected' in client.get(reply).content.decode()
    choose_reply_from(actor=SYSTEM, user=owner, choice=ReplyFrom.DEFAULT)
    assert f'value="{owner.primary_address}" selected' in client.get(reply).content.decode()
    answer = client.get(f"{COMPOSE}?from={PARTNER}")
    assert f'value="{PARTNER}" selected' in answer.content.decode()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"to": ""}, "Type at least one address"),
        ({"to": "claire"}, "“claire”: The address has to have the form name@example.com."),
        ({"to": "Doe, Jane <jane@x.example>"}, "“Doe”: The address has to have the form"),
        ({"cc": "a@x.example\r\nBcc: b@x.example"}, "“Bcc: b@x.example”"),
        ({"bcc": "group: a@x.example, b@x.example;"}, "“group: a@x.example”"),
        ({"to": ", ".join(f"{n}@x.example" for n in range(101))}, "this one has 101. Send several"),
        ({"subject": "Offer\r\nBcc: b@x.example"}, "Leave out line breaks"),
        ({"subject": "x" * 501}, "at most 500 characters"),
        ({"in_reply_to": "<1@x>\r\nBcc: b@x"}, "The message that you answer is not named here"),
        ({"references": "no id"}, "The message that you answer is not named here"),
        ({"sender": "stranger@yourdomain.com"}, "Nothing can be sent from stranger@yourdomain.com"),
        ({"text": "x" * 100_001}, "at most 100000 characters"),
        ({"html": "<b>" + "x" * 300_001}, "The text is too long"),
    ],
)
def test_bad_input_is_told_and_everything_typed_is_kept(send, typed, told):
    answer = send(**({"text": "My long letter", "html": "<p>Mine</p>"} | typed))
    assert answer.status_code == 422
    assert told in words(answer)
    kept = answer.content.decode()
    assert ('value="&lt;p&gt;Mine&lt;/p&gt;"' in kept) != ("html" in typed)
    assert ("My long letter</textarea>" in kept) != ("text" in typed)
    assert not OutboxMessage.objects.exists()


def typed_by(client) -> str:
    """What the page says of whom it was made for."""
    return re.search(r'name="typed_by" value="([^"]+)"', client.get(COMPOSE).content.decode())[1]


def test_after_the_session_ended_everything_typed_is_there_and_nothing_was_sent(send, client):
    stamp = typed_by(client)
    client.logout()
    typed = {
        "typed_by": stamp,
        "sender": PARTNER, "to": CLAIRE, "text": "My long letter", "number": str(uuid4()),
        "attachments": SimpleUploadedFile("offer.pdf", b"x"),
    }  # fmt: skip
    answer = client.post(COMPOSE, typed)
    assert answer.status_code == 422
    assert "you were signed out while you wrote" in words(answer)
    assert "You had chosen: offer.pdf" in words(answer)
    kept = answer.content.decode()
    for text in ("My long letter</textarea>", f'value="{CLAIRE}"', f'value="{PARTNER}" selected',
                 typed["number"], stamp):  # fmt: skip
        assert text in kept
    assert not OutboxMessage.objects.exists()


def test_a_form_from_before_the_last_sign_in_is_shown_again(owner):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    late = {"to": CLAIRE, "text": "My long letter", "typed_by": typed_by(client)}
    client.force_login(owner)
    answer = client.post(COMPOSE, late)
    assert answer.status_code == 422
    assert "you signed in again while you wrote" in words(answer)
    assert "My long letter</textarea>" in answer.content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.content.decode())[1]
    typed = {"sender": owner.primary_address, "to": CLAIRE, "number": str(uuid4())}
    assert client.post(COMPOSE, typed | {"csrfmiddlewaretoken": token}).status_code == 302
    assert OutboxMessage.objects.count() == 1


def test_another_account_is_not_shown_what_was_typed(owner, stranger):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    late = {"to": CLAIRE, "text": "My long letter", "typed_by": typed_by(client)}
    client.force_login(stranger)
    for stamp in (late["typed_by"], "", f"{stranger.pk}:forged"):
        answer = client.post(COMPOSE, late | {"typed_by": stamp})
        assert answer.status_code == 403
        assert "My long letter" not in answer.content.decode()
    assert not OutboxMessage.objects.exists()


def test_attachments_have_to_be_chosen_again_and_are_named(send):
    answer = send(to="", attachments=[SimpleUploadedFile("offer.pdf", b"x")])
    assert "Choose the attachments again" in words(answer)
    assert "offer.pdf" in words(answer)


@pytest.mark.parametrize("sizes", [[400_000], [90_000, 80_000, 90_000], [1, 1_000_000, 1]])
def test_attachments_over_the_limit_are_refused_and_the_rest_is_kept(send, settings, sizes):
    settings.OUTGATE_MESSAGE_SIZE = 300_000
    answer = send(attachments=[SimpleUploadedFile("a.bin", b"x" * size) for size in sizes])
    assert answer.status_code == 422
    assert "larger than a message may be. Attachments can have 141.0 KB together" in words(
        answer
    ), words(answer)
    assert 'value="Offer"' in answer.content.decode()
    assert not OutboxMessage.objects.exists()


def test_too_many_attachments_are_told_and_the_rest_is_kept(send):
    def files(number: int) -> list[SimpleUploadedFile]:
        return [SimpleUploadedFile(f"{n}.txt", b"x") for n in range(number)]

    answer = send(text="My long letter", attachments=files(101))
    assert answer.status_code == 422
    assert "A message takes 100 attachments." in words(answer)
    assert "My long letter</textarea>" in answer.content.decode()
    assert not OutboxMessage.objects.exists()
    assert send(attachments=files(100)).status_code == 302
    assert content_of(OutboxMessage.objects.get()).count(b"Content-Disposition: attachment") == 100


def test_attachments_up_to_the_limit_are_sent(send, settings):
    settings.OUTGATE_MESSAGE_SIZE = 3_000_000
    octets = bytes(range(256)) * 8_000
    assert send(attachments=[SimpleUploadedFile("a.bin", octets)]).status_code == 302
    message = OutboxMessage.objects.get()
    assert len(octets) < message.size <= settings.OUTGATE_MESSAGE_SIZE


def test_recipients_are_counted_for_pages_and_mail_programs_together(send, owner, settings):
    settings.OUTGATE_RECIPIENTS_PER_HOUR = 3
    assert send(to="a@x.example, b@x.example").status_code == 302
    answer = send(to="a@x.example, b@x.example")
    assert answer.status_code == 422
    assert "may write to 3 recipients an hour: 2 are used up" in words(answer)
    assert LimitReport.objects.get().account == owner
    assert RecipientCount.objects.get().recipients == 2
    assert send().status_code == 302


def test_what_could_not_be_stored_is_not_counted(send, owner, stranger):
    number = str(uuid4())
    send(number=number)
    OutboxMessage.objects.update(account=stranger)
    with pytest.raises(Exception, match="duplicate key"):
        send(number=number)
    assert RecipientCount.objects.get().recipients == 1


def test_the_number_of_queries_does_not_depend_on_the_number_of_addresses(client, owner):
    client.force_login(owner)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            client.get(COMPOSE)
        return len(captured)

    for number in range(10):
        make_send_as(owner, address=f"{number}@partnerdomain.com")
    first = queries()
    for number in range(10, 20):
        make_send_as(owner, address=f"{number}@partnerdomain.com")
    assert queries() == first

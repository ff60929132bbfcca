"""A failed message opened again: what was written is there, for its author and for some days."""

import html
import io
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.models import F, Sum
from django.db.models.functions import Now

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from delivery.letters import Letter
from delivery.models import OutboxChunk, OutboxMessage, RecipientCount
from delivery.outbox import discard_failed, tidy_outbox
from delivery.reopening import reopen
from delivery.sealing import CHUNK_BYTES
from delivery.sending import send_letter
from sendas.services.addresses import Details, Signature, change_details
from smtp.address import Mailbox
from tests.delivery.outbox import deliver, put, state_of

OUTGOING = "/compose/outgoing/"
REFUSED = b"550 5.1.1 Nobody of that name\r\n"
LARGE = bytes(range(256)) * 3_000  # more than two chunks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fail(client, owner, relay):
    """Sends what a person typed and lets it fail; the message."""
    client.force_login(owner)

    def send(**typed) -> OutboxMessage:
        number = uuid4()
        fields = {
            "number": str(number), "sender": owner.primary_address,
            "to": "claire@customer.example", "subject": "Offer", "text": "Text",
        }  # fmt: skip
        assert client.post("/compose/", fields | typed).status_code == 302
        relay.answers["RCPT"] = REFUSED
        deliver()
        relay.answers.clear()
        relay.taken.clear()
        message = OutboxMessage.objects.get(pk=number)
        assert message.state == "failed"
        return message

    return send


def words(response) -> str:
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(html.unescape(text).split())


def again(message: OutboxMessage) -> str:
    return f"{OUTGOING}{message.pk}/again/"


def opened(owner, message):
    return reopen(actor=Actor(owner), message=message)


def test_everything_that_was_written_is_there_again(fail, owner):
    message = fail(
        to='Claire <Claire@customer.example>, "Berg, Jonas" <jonas@customer.example>',
        cc="値 <cc@customer.example>, ärger@customer.example", bcc="secret@x.example",
        subject="Angebot für November: " + "größer " * 20,
        text="Grüße\r\n.\r\n..dots\r\n  indented\r\n\r\n" + "long " * 400 + "end",
        in_reply_to="<2@x.example>", references="<1@x.example>",
    )  # fmt: skip
    found = opened(owner, message)
    assert found.html == ""
    assert found.attachments == []
    assert found.given == {
        "sender": owner.primary_address,
        "to": 'Claire <Claire@customer.example>, "Berg, Jonas" <jonas@customer.example>',
        "cc": "値 <cc@customer.example>, ärger@customer.example",
        "bcc": "secret@x.example",
        "subject": ("Angebot für November: " + "größer " * 20).strip(),
        "text": "Grüße\n.\n..dots\n  indented\n\n" + "long " * 400 + "end",
        "with_signature": False,
        "in_reply_to": "<2@x.example>",
        "references": "<1@x.example> <2@x.example>",
    }


def test_formatted_text_and_signature_are_taken_apart_again(fail, owner):
    signature = Signature("<b>Yuki</b> &amp; Co.<br>Sales")
    change_details(
        actor=SYSTEM, user=owner, address=owner.primary_address,
        details=Details("Yuki", "", signature=signature),
    )  # fmt: skip
    message = fail(html="<div>My <em>text</em><br>値</div>", with_signature="on")
    found = opened(owner, message)
    assert found.html == "<div>My <em>text</em><br>値</div>"
    assert (found.given["text"], found.given["with_signature"]) == ("My text\n値", True)
    plain = opened(owner, fail(text="Plain", with_signature="on"))
    assert (plain.given["text"], plain.given["with_signature"]) == ("Plain", True)
    change_details(
        actor=SYSTEM, user=owner, address=owner.primary_address, details=Details("Yuki", "")
    )
    found = opened(owner, message)
    assert found.given["text"] == "My text\n値\n\n-- \nYuki & Co.\nSales"
    assert not found.given["with_signature"]


def test_attachments_are_read_back_byte_for_byte(fail, owner):
    contents = [b"x", b"\0\r\n.\r\n--=", b"y" * 57, b"z" * 114, LARGE, LARGE[:-1], LARGE[:-2]]
    files = [(f"größe {n}.pdf", "application/pdf", octets) for n, octets in enumerate(contents)]
    message = fail(attachments=[SimpleUploadedFile(n, o, kind) for n, kind, o in files])
    found = opened(owner, message).attachments
    assert [(each.name, each.content_type, each.size) for each in found] == [
        (name, kind, len(octets)) for name, kind, octets in files
    ]
    for each, (_name, _kind, octets) in zip(found, files, strict=True):
        read = io.BytesIO()
        while piece := each.read(57 * 1000):
            read.write(piece)
        assert read.getvalue() == octets


def test_the_page_fills_in_the_form_and_sends_it_as_a_new_message(client, fail, relay):
    message = fail(
        bcc="secret@x.example", text="My long letter",
        attachments=[SimpleUploadedFile("a.bin", LARGE), SimpleUploadedFile("b.txt", b"second")],
    )  # fmt: skip
    line = words(client.get(OUTGOING))
    assert "What you wrote is kept until" in line
    assert "Edit and send again" in line
    page = client.get(again(message))
    shown = page.content.decode()
    for text in ('value="claire@customer.example"', 'value="secret@x.example"', 'value="Offer"',
                 "My long letter</textarea>", 'name="kept" value="0"', "a.bin (750.0"):  # fmt: skip
        assert text in shown
    number = re.search(r'name="number" value="([^"]+)"', shown)[1]
    assert number != str(message.pk)
    typed = {
        "number": number, "sender": "user@yourdomain.com", "to": "claire@other.example",
        "bcc": "secret@x.example", "subject": "Offer", "text": "My letter", "kept": ["0"],
        "attachments": [SimpleUploadedFile("c.txt", b"third")],
    }  # fmt: skip
    refused = client.post(again(message), typed | {"to": "claire"})
    assert refused.status_code == 422
    assert re.search(r'value="0"[^>]*checked', refused.content.decode())
    assert not re.search(r'value="1"[^>]*checked', refused.content.decode())
    typed["attachments"] = [SimpleUploadedFile("c.txt", b"third")]
    assert client.post(again(message), typed).url == OUTGOING
    assert client.post(again(message), typed).url == OUTGOING  # a second click
    assert state_of(message) == "discarded"
    assert not message.chunks.exists()
    event = AuditEvent.objects.get(name="outbox_sent_again")
    assert event.details["sent_as"] == number
    deliver()
    [taken] = [each for each in relay.taken if "claire@other.example" in each.recipients]
    assert taken.recipients == ["claire@other.example", "secret@x.example"]
    assert b"secret@" not in taken.content
    assert [name for name in (b"a.bin", b"b.txt", b"c.txt") if name in taken.content] == [
        b"a.bin", b"c.txt",
    ]  # fmt: skip


@pytest.mark.parametrize("files", [0, 1])
def test_a_second_click_in_the_same_moment_sends_it_once_and_tells_nothing_else(fail, owner, files):
    message = fail(attachments=[SimpleUploadedFile("a.txt", b"x")])
    kept, same = (opened(owner, message).attachments for _click in range(2))
    number, address = uuid4(), owner.primary_address

    def letter(attachments) -> Letter:
        to = [Mailbox("", "claire@other.example")]
        return Letter(Mailbox("", address), to, text="Again", attachments=attachments)

    def send(attachments) -> None:
        send_letter(user=owner, letter=letter(attachments), number=number, failed=message)

    def elsewhere() -> None:
        send(same[:files])
        connection.close()

    def read(octets: int) -> bytes:
        # The other click is through with it before this one comes to what was kept.
        if not OutboxMessage.objects.filter(pk=number).exists():
            with ThreadPoolExecutor(1) as threads:
                threads.submit(elsewhere).result()
        return kept[0].read(octets) if files else b""

    send([kept[0]._replace(read=read)])
    assert OutboxMessage.objects.get(pk=number).state == "waiting"
    assert state_of(message) == "discarded"
    assert RecipientCount.objects.aggregate(Sum("recipients"))["recipients__sum"] == 2


def test_what_was_sent_again_or_discarded_meanwhile_is_told_and_nothing_typed_is_lost(
    client, fail, owner
):
    message = fail(attachments=[SimpleUploadedFile("a.txt", b"x")])
    typed = {
        "number": str(uuid4()), "sender": owner.primary_address, "to": "claire@other.example",
        "text": "My long letter", "kept": ["0"],
    }  # fmt: skip
    assert discard_failed(actor=Actor(owner), message=message)
    answer = client.post(again(message), typed)
    assert answer.status_code == 422
    assert "The failed message was discarded or sent again meanwhile" in words(answer)
    assert "My long letter</textarea>" in answer.content.decode()
    assert 'action="/compose/"' in answer.content.decode()
    assert not OutboxMessage.objects.filter(pk=typed["number"]).exists()
    told = client.get(again(message), follow=True)
    assert "What this message says is not kept here any more." in words(told)


def test_signed_out_meanwhile_the_form_still_says_which_attachments_were_left(client, fail, owner):
    message = fail(attachments=[SimpleUploadedFile(f"{n}.txt", b"x") for n in range(3)])
    page = client.get(again(message)).content.decode()
    stamp = re.search(r'name="typed_by" value="([^"]+)"', page)[1]
    typed = {
        "number": str(uuid4()), "sender": owner.primary_address, "to": "claire@other.example",
        "kept": ["0", "2"], "typed_by": stamp,
    }  # fmt: skip
    client.logout()
    answer = client.post(again(message), typed).content.decode()
    assert re.findall(r'type="hidden" name="kept" value="(\d)"', answer) == ["0", "2"]
    assert "1.txt" not in answer
    assert f'action="{again(message)}"' in answer


def test_its_author_alone_may_open_it(client, fail, owner, stranger, super_admin, support):
    message = fail()
    for somebody in (stranger, super_admin, support):
        for act in (reopen, discard_failed):
            with pytest.raises(PermissionDenied):
                act(actor=Actor(somebody), message=message)
        client.force_login(somebody)
        assert client.get(again(message)).status_code == 404
        assert client.post(again(message), {"to": "a@x.example"}).status_code == 404
    assert opened(owner, message)


def test_discarded_it_is_gone_at_once(client, fail):
    message = fail()
    assert "can't be brought back" in words(client.get(f"{OUTGOING}{message.pk}/discard/"))
    answer = client.post(f"{OUTGOING}{message.pk}/discard/", follow=True)
    assert "The message is discarded." in words(answer)
    assert not message.chunks.exists()
    assert "Edit and send again" not in words(answer)
    assert AuditEvent.objects.filter(name="outbox_discarded").count() == 1


def test_after_its_days_what_it_says_is_gone_and_the_line_stays(fail, owner):
    message, younger = fail(), fail()
    failed = OutboxMessage.objects.filter(pk__in=[message.pk, younger.pk])
    failed.update(finished_at=Now() - OutboxMessage.CONTENT_KEPT + timedelta(minutes=1))
    tidy_outbox()
    assert opened(owner, message)
    OutboxMessage.objects.filter(pk=message.pk).update(
        finished_at=F("finished_at") - timedelta(minutes=2)
    )
    tidy_outbox()
    assert not message.chunks.exists()
    assert younger.chunks.exists()
    assert state_of(message) == "failed"
    assert opened(owner, message) is None
    owner.delete()
    tidy_outbox()
    assert not OutboxChunk.objects.filter(message=younger).exists()


def test_of_a_mail_program_nothing_is_kept(owner, relay):
    message = put(owner)
    OutboxMessage.objects.update(source="smtp")
    relay.answers["claire@customer.example"] = REFUSED
    deliver()
    assert state_of(message) == "failed"
    assert not message.chunks.exists()
    assert opened(owner, message) is None
    [report] = relay.taken
    assert b"Nothing of it is kept here" in report.content.replace(b"=\r\n", b"")


def test_what_cannot_be_read_any_more_is_not_offered(client, fail, owner):
    message = fail(attachments=[SimpleUploadedFile("a.bin", LARGE)])
    assert message.size > 2 * CHUNK_BYTES
    OutboxChunk.objects.filter(message=message, number=1).delete()
    assert opened(owner, message) is None
    assert "is not kept here any more" in words(client.get(again(message), follow=True))

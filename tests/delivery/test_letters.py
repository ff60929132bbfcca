"""What the compose page writes, as another parser reads it."""

import email
import io
import re
from email import policy

import pytest

from delivery.letters import READ_OCTETS, Attachment, Letter, write_content, write_header
from smtp.address import Mailbox
from smtp.header import HeaderError

NUMBER = "0b5f3c1e-0000-4000-8000-000000000000"
FROM = Mailbox("Yuki Tanaka", "user@yourdomain.com")
TO = Mailbox("", "claire@customer.example")
LONG_ID = f"<{'x' * 120}@{'y' * 80}.example>"


def on_the_wire(letter: Letter) -> bytes:
    return b"".join(write_content(write_header(letter, NUMBER), letter))


def read(letter: Letter):
    octets = on_the_wire(letter)
    return email.message_from_bytes(re.sub(rb"(?m)^\.\.", b".", octets), policy=policy.default)


def attachment(octets: bytes, name: str = "offer.pdf", kind: str = "application/pdf") -> Attachment:
    return Attachment(name, kind, len(octets), io.BytesIO(octets).read)


@pytest.mark.parametrize(
    "letter",
    [
        Letter(FROM, [TO]),
        Letter(FROM, [TO], text="Grüße\r\n" * 3, subject="Grüße, " * 30),
        Letter(FROM, [TO], html="<p>" + "long " * 400 + "</p>"),
        Letter(FROM, [TO], text=".\n..\n.dot\r\rend", html="<b>x</b>\n.\n"),
        Letter(FROM, [TO], text="x" * 5000, attachments=[attachment(b"\0\r\n.\r\n" * 99)]),
        Letter(FROM._replace(display_name="値" * 200), [TO], text="値" * 3000),
    ],
)
def test_it_is_in_the_form_of_data(letter):
    octets = on_the_wire(letter)
    assert octets.endswith(b"\r\n")
    assert octets.isascii()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets)
    assert not re.search(rb"\r\n\.\r\n", octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert len(octets) <= letter.most_octets


def test_header_fields_are_read_back_as_they_were_written():
    letter = Letter(
        Mailbox('Tanaka, "Yuki" ゆき', "user@yourdomain.com"),
        [Mailbox("Berg, Jonas", "Jonas.Berg@customer.example"), TO],
        cc=[Mailbox("Ä=?Ö", "cc@customer.example")],
        bcc=[Mailbox("", "secret@customer.example")],
        subject="Angebot für November: " + "größer " * 20,
        text="Text",
        reply_to="desk@yourdomain.com",
        in_reply_to=LONG_ID,
        references=["<first@x.example>", LONG_ID],
    )
    message = read(letter)
    assert [(a.display_name, a.addr_spec) for a in message["From"].addresses] == [
        ('Tanaka, "Yuki" ゆき', "user@yourdomain.com")
    ]
    assert [(a.display_name, a.addr_spec) for a in message["To"].addresses] == [
        ("Berg, Jonas", "Jonas.Berg@customer.example"), ("", TO.address),
    ]  # fmt: skip
    assert message["Cc"].addresses[0].display_name == "Ä=?Ö"
    assert message["Subject"] == letter.subject
    assert message["Reply-To"] == "desk@yourdomain.com"
    assert message["In-Reply-To"].strip() == LONG_ID
    assert message["References"].split() == ["<first@x.example>", LONG_ID]
    assert message["Message-ID"].endswith("@yourdomain.com>")
    assert message["Date"].datetime.tzinfo
    assert NUMBER in message["Received"]
    assert message["Bcc"] is None
    assert b"secret@" not in on_the_wire(letter)
    assert letter.recipients == [
        "Jonas.Berg@customer.example", TO.address, "cc@customer.example", "secret@customer.example"
    ]  # fmt: skip


def test_a_message_to_hidden_recipients_alone_has_a_to_field():
    assert "undisclosed" in str(read(Letter(FROM, [], bcc=[TO]))["To"])


def test_text_and_html_stand_beside_each_other_and_attachments_below():
    octets = bytes(range(256)) * (READ_OCTETS // 200)
    message = read(
        Letter(
            FROM,
            [TO],
            text="Grüße\n.dot",
            html="<p>Grüße</p>",
            attachments=[
                attachment(octets, "größe “1”.pdf"),
                attachment(b"text", "note.txt", "text/plain"),
                attachment(b"From: x\r\n\r\n", "a.eml", "message/rfc822"),
                attachment(b"", "\r\nX: y", "no type"),
            ],
        )
    )
    assert not [part for part in message.walk() if part.defects]
    assert message.get_content_type() == "multipart/mixed"
    assert message.get_body(("plain",)).get_content().splitlines() == ["Grüße", ".dot"]
    assert message.get_body(("html",)).get_content().strip() == "<p>Grüße</p>"
    parts = list(message.iter_attachments())
    assert [(part.get_filename(), part.get_content_type()) for part in parts] == [
        ("größe “1”.pdf", "application/pdf"),
        ("note.txt", "text/plain"),
        ("a.eml", "application/octet-stream"),
        ("X: y", "application/octet-stream"),
    ]
    assert parts[0].get_content() == octets
    assert [part.get_payload(decode=True) for part in parts[1:]] == [
        b"text", b"From: x\r\n\r\n", b""
    ]  # fmt: skip


def test_html_alone_needs_no_other_part():
    message = read(Letter(FROM, [TO], html="<p>Only</p>"))
    assert message.get_content_type() == "text/html"


def test_addresses_beyond_ascii_ask_for_smtputf8():
    letter = Letter(FROM, [Mailbox("", "用户@customer.example")], text="Text")
    assert letter.needs_smtputf8
    assert "用户@customer.example".encode() in on_the_wire(letter)
    assert not Letter(FROM._replace(display_name="値"), [TO]).needs_smtputf8


def test_a_header_that_is_too_large_is_refused():
    many = [Mailbox("値" * 200, f"{number}@customer.example") for number in range(100)]
    with pytest.raises(HeaderError):
        write_header(Letter(FROM, many), NUMBER)

from datetime import UTC, datetime

import pytest

from smtp.address import Mailbox
from smtp.header import (
    HeaderBlock,
    HeaderError,
    date_field,
    message_id_field,
    received_field,
    sender_field,
)

RAW = (
    b"Received: by a\r\n\twith SMTP\r\n"
    b"received: by b\r\n"
    b"FROM: Mina\r\n <mina@example.com>\r\n"
    b"Subject:Gr\xfc\xdfe\r\n"
    b"Message-Id: <1@example.com>\r\n"
    b"Bcc: c@example.com\r\n"
    b"Empty:\r\n"
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_a_block_comes_back_byte_for_byte(end: bytes) -> None:
    block = HeaderBlock.parse(RAW + end)
    assert block.encode() == RAW + b"\r\n"
    assert [name for name, _ in block.fields] == [
        "received", "received", "from", "subject", "message-id", "bcc", "empty",
    ]  # fmt: skip
    assert block.from_mailbox() == Mailbox("Mina", "mina@example.com")
    assert block.message_id == "<1@example.com>"
    assert block.received_count == 2
    assert block.get_all("SUBJECT") == [b"Gr\xfc\xdfe"]
    assert block.get_all("nothing") == []


@pytest.mark.parametrize("raw", [b"", b"\r\n"])
def test_an_empty_block_is_one(raw: bytes) -> None:
    block = HeaderBlock.parse(raw)
    assert block.fields == ()
    assert block.message_id is None
    with pytest.raises(HeaderError, match="no From"):
        block.from_mailbox()


def test_edits_make_new_blocks() -> None:
    block = HeaderBlock.parse(RAW)
    edited = (
        block.without(["BCC", "Received"]).prepend(b"A: 1\r\n", b"B: 2\r\n").append(b"C: 3\r\n")
    )
    assert edited.encode() == (
        b"A: 1\r\nB: 2\r\n"
        b"FROM: Mina\r\n <mina@example.com>\r\n"
        b"Subject:Gr\xfc\xdfe\r\n"
        b"Message-Id: <1@example.com>\r\n"
        b"Empty:\r\nC: 3\r\n\r\n"
    )
    assert block.encode() == RAW + b"\r\n"
    with pytest.raises(HeaderError):
        block.append(b"no end of line: x")


@pytest.mark.parametrize(
    "raw",
    [
        b" From: a@example.com\r\n\r\n",
        b"\tFrom: a@example.com\r\n\r\n",
        b"From : a@example.com\r\n\r\n",
        b"From\t: a@example.com\r\n\r\n",
        b"Fr om: a@example.com\r\n\r\n",
        b"From\r\n : a@example.com\r\n\r\n",
        b": a@example.com\r\n\r\n",
        b".From: a@example.com\r\n\r\n",
        b"Fr\xc3\xb6m: a@example.com\r\n\r\n",
        b"From: a@example.com\0\r\n\r\n",
        b"From: a@example.com\rBcc: x\r\n\r\n",
        b"From: a@example.com\nBcc: x\r\n\r\n",
        b"From: a@example.com\n\n",
        b"From: a@example.com\r\n\r\nFrom: b@example.com\r\n\r\n",
        b"\r\n\r\n",
        b"From: a@example.com",
        b"From a@example.com Fri\r\n\r\n",
        b"X: " + b"x" * 996 + b"\r\n\r\n",
        b"X: y\r\n" * 20_000,
    ],
)
def test_hostile_blocks_are_refused(raw: bytes) -> None:
    with pytest.raises(HeaderError) as caught:
        HeaderBlock.parse(raw)
    assert "\n" not in str(caught.value)


def test_a_line_of_998_octets_passes() -> None:
    assert HeaderBlock.parse(b"X: " + b"x" * 995 + b"\r\n\r\n").fields


def test_a_block_of_100_kb_passes_and_one_octet_more_does_not() -> None:
    line = b"X: " + b"y" * 507 + b"\r\n"
    block = line * 200  # 102,400 octets
    assert len(HeaderBlock.parse(block).fields) == 200
    with pytest.raises(HeaderError):
        HeaderBlock.parse(b"Z" + block)


def test_two_from_fields_are_refused() -> None:
    with pytest.raises(HeaderError, match="2 From fields"):
        HeaderBlock.parse(b"From: a@example.com\r\nfrom: b@example.com\r\n\r\n").from_mailbox()


def test_a_bad_from_field_says_why() -> None:
    with pytest.raises(HeaderError, match=r"^From field: "):
        HeaderBlock.parse(b"From: a@example.com, b@example.com\r\n\r\n").from_mailbox()


def test_the_fields_that_we_add() -> None:
    received = received_field(
        protocol="ESMTPSA", by="mail.example.com", tls="TLSv1.3", message_id="abc", now=NOW
    )
    assert received == (
        b"Received: by mail.example.com with ESMTPSA (TLSv1.3)\r\n"
        b"\tid abc; Fri, 02 Jan 2026 03:04:05 +0000\r\n"
    )
    assert date_field(NOW) == b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n"
    assert sender_field("user@example.com") == b"Sender: user@example.com\r\n"
    first, second = message_id_field("example.com"), message_id_field("example.com")
    assert first != second
    assert first.startswith(b"Message-ID: <")
    assert first.endswith(b"@example.com>\r\n")
    HeaderBlock.parse(received + date_field(NOW) + first + sender_field("user@example.com"))

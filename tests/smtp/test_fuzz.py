"""Nothing that a stranger sends raises anything but what its reader says it raises."""

import asyncio
import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtp.address import AddressError, normalise_address, parse_from, parse_path
from smtp.connection import SmtpServerProtocol
from smtp.counter import ConnectionCounter
from smtp.header import HeaderBlock, HeaderError
from smtp.reply import Reply, ReplyError, ReplyParser
from smtp.service import Service
from smtp.session import Limits
from tests.smtp.certificates import Authority
from tests.smtp.fakes import Recorder

WORDS = st.sampled_from(
    [
        *(b"From", b"from:", b": ", b"\r\n", b"\r", b"\n", b" ", b"\t", b"\0", b"<", b">", b"@"),
        *(b"(", b")", b",", b";", b":", b'"', b"\\", b".", b"\xc3\xa4", b"\xff", b"x" * 600),
        *(b"=?utf-8?Q?a?=", b"a@example.com", b"\r\n.\r\n", b"250", b"250-", b"250 5.7.1"),
        *(b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>", b"DATA", b"EHLO x", b"RSET"),
        *(b"AUTH PLAIN ", b"AUTH LOGIN", b"AHVzZXIAY29ycjNjdC1ob3JzZQ==", b"STARTTLS", b"NOOP"),
        *(
            b"BDAT 0\r\n",
            b"BDAT 7\r\n",
            b"BDAT 9 LAST\r\n",
            b"BDAT ",
            b" SMTPUTF8",
            b"\xe2\x84\xaa",
        ),
    ]
)
TEXT = st.lists(WORDS | st.binary(max_size=4), max_size=20).map(b"".join)


@given(TEXT)
def test_addresses(raw: bytes) -> None:
    for read in (parse_path, parse_from, lambda one: normalise_address(one.decode("latin-1"))):
        with contextlib.suppress(AddressError):
            assert read(raw) is not None


@given(TEXT)
def test_an_accepted_from_has_an_address_that_stands_in_it(raw: bytes) -> None:
    try:
        mailbox = parse_from(raw)
    except AddressError:
        return
    assert normalise_address(mailbox.address) == mailbox.address
    plain = raw.lower().replace(b"\\", b"").replace(b'"', b"").decode("latin-1")
    assert mailbox.address.replace("\\", "").replace('"', "") in plain


@given(TEXT)
def test_an_accepted_from_beyond_ascii_is_in_its_one_spelling(raw: bytes) -> None:
    with contextlib.suppress(AddressError):
        address = parse_from(raw, smtputf8=True).address
        assert normalise_address(address, smtputf8=True) == address


@given(st.text(min_size=1, max_size=20))
def test_no_local_part_beyond_ascii_becomes_one_of_ascii(local: str) -> None:
    with contextlib.suppress(AddressError):
        address = normalise_address(f"{local}@example.com", smtputf8=True)
        assert normalise_address(address, smtputf8=True) == address
        assert local.isascii() or not address.isascii()


@given(TEXT)
def test_header_blocks(raw: bytes) -> None:
    try:
        block = HeaderBlock.parse(raw)
    except HeaderError:
        return
    assert block.encode() == raw.removesuffix(b"\r\n") + b"\r\n" or block.encode() == raw + b"\r\n"
    assert HeaderBlock.parse(block.encode()) == block


@given(st.lists(TEXT, max_size=5))
def test_replies(chunks: list[bytes]) -> None:
    parser = ReplyParser()
    try:
        for chunk in chunks:
            for reply in parser.feed(chunk):
                assert ReplyParser().feed(reply.encode())
    except ReplyError:
        pass


@given(st.text(), st.integers(200, 599))
def test_every_reply_can_be_written(text: str, code: int) -> None:
    wire = Reply(code, "", text).encode()
    assert wire.endswith(b"\r\n")
    assert all(len(line) <= 510 for line in wire.split(b"\r\n"))
    assert wire.isascii()
    assert wire.count(b"\n") == wire.count(b"\r\n") == text.count("\n") + 1


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(TEXT, max_size=8))
def test_the_server_answers_whatever_comes_with_replies_only(
    authority: Authority, chunks: list[bytes]
) -> None:
    async def dialogue() -> bytes:
        service = Service(
            handler=Recorder(),
            hostname="mail.example.com",
            tls=CONTEXTS.setdefault("one", authority.server_context()),
            limits=Limits(greeting_delay=0, auth_failure_delay=0, linger=0),
            counter=ConnectionCounter(),
        )
        protocol = SmtpServerProtocol(service, implicit_tls=False)
        pipe = Pipe()
        protocol.connection_made(pipe)
        await asyncio.sleep(0.001)
        protocol.session.tls = "TLSv1.3"
        protocol.data_received(b"EHLO x\r\n")
        for chunk in [b"AUTH PLAIN AHVzZXIAY29ycjNjdC1ob3JzZQ==\r\n", *chunks]:
            protocol.data_received(chunk.replace(b"STARTTLS", b"HELP"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        for task in list(service.tasks):
            await task
        return pipe.written

    written = asyncio.run(dialogue())
    replies = ReplyParser().feed(written)
    assert [reply.code for reply in replies[:3]] == [220, 250, 235]


CONTEXTS: dict = {}

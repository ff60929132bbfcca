"""Nothing that a stranger sends raises anything but what its reader says it raises."""

import asyncio
import contextlib
from ipaddress import ip_address
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtp.address import AddressError, normalise_address, parse_from, parse_path
from smtp.client import Connection
from smtp.connection import SmtpServerProtocol
from smtp.counter import ConnectionCounter
from smtp.failure import SmtpFailure
from smtp.header import HeaderBlock, HeaderError
from smtp.proxy import ProxyError, parse_proxy_header
from smtp.reply import Reply, ReplyError, ReplyParser
from smtp.service import Service
from smtp.session import Limits
from smtp.sign_on import SigningOn
from smtp.target import Credential, Security, Server, Timeouts
from smtp.tls import client_tls_context
from smtp.wire import Wire
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

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT | st.just(b"QUIT\r\n"), max_size=8))
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


# A dialogue in which all goes well.
GOOD = [
    b"220 hi\r\n",
    b"250-hi\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n",
    b"235 ok\r\n",
    b"250 ok\r\n250 ok\r\n354 go\r\n",
    b"250 taken\r\n",
]
ANSWERS = st.sampled_from(
    [
        *GOOD,
        *(b"250 ok\r\n", b"354 go\r\n", b"334 x\r\n", b"421 bye\r\n", b"450 no\r\n"),
        *(b"550 no\r\n", b"250-SIZE 9\r\n250 SIZE x\r\n", b"250 \xff\xfe\r\n", b"\r\n", b"2"),
        b"250-" + b"x" * 5_000,
    ]
)
SOON = Timeouts(connect=0.01, command=0.01, content=0.01, final=0.01)


class Upstream(Pipe):
    """Answers each write with what stands next in `script`, then closes."""

    def __init__(self, wire: Wire, script: list[bytes]) -> None:
        super().__init__()
        self._wire = wire
        self._script = list(script)

    def write(self, data: bytes) -> None:
        super().write(data)
        asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        if self._script:
            self._wire.data_received(self._script.pop(0))
        else:
            self._wire.connection_lost(None)


@settings(deadline=None)
@given(st.integers(0, len(GOOD)), st.lists(ANSWERS | TEXT, max_size=6))
def test_the_client_makes_a_reply_or_a_failure_of_whatever_a_server_says(
    good: int, script: list[bytes]
) -> None:
    async def dialogue() -> Reply:
        wire = Wire()
        upstream = Upstream(wire, [*GOOD[:good], *script])
        wire.connection_made(upstream)
        server = Server("localhost", 587, Security.NONE)
        credential = Credential("user", "secret")
        asyncio.get_running_loop().call_soon(upstream.answer)
        signing_on = SigningOn(wire, server, credential, SOON)
        extensions = await signing_on.run(client_tls_context(), "mail.example.com")
        connection = Connection(wire, extensions, credential, SOON)
        try:
            await connection.start_message("a@example.com", ["b@example.com"])
            await connection.write(b"Subject: x\r\n\r\n")
            reply = await connection.finish()
        except SmtpFailure:
            assert not connection.reusable or b"MAIL" in upstream.written
            raise
        # No answer counts that was not one to the final dot.
        assert upstream.written.endswith(b"\r\n.\r\n")
        assert reply.code // 100 in {2, 4, 5}
        return reply

    with contextlib.suppress(SmtpFailure):
        asyncio.run(asyncio.wait_for(dialogue(), 5))


PROXY_WORDS = st.sampled_from(
    [
        *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.1 ", b"2001:db8::1 ", b"25 587"),
        *(b"\r\n", b"\r\n\r\n\0\r\nQUIT\n", b"\x20", b"\x21\x11\0\x0c", b"\x21\x21\0\x24"),
        *(b"\x7f\0\0\1" * 3, b"\xff" * 12, b"EHLO x\r\n"),
    ]
)


@given(st.lists(PROXY_WORDS | st.binary(max_size=6), max_size=10).map(b"".join))
def test_proxy_headers(raw: bytes) -> None:
    """Read whole as byte by byte; who it names is an address."""
    whole = _origin(raw)
    for end in range(len(raw)):
        early = _origin(raw[:end])
        assert early is None or early == whole
    if whole not in (None, "refused"):
        assert 0 < whole.length <= len(raw)
        assert whole.address is None or ip_address(whole.address)


def _origin(raw: bytes) -> Any:
    try:
        return parse_proxy_header(raw)
    except ProxyError:
        return "refused"

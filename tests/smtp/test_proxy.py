"""The PROXY protocol: its header alone, then behind a balancer that the test plays."""

import asyncio
import ssl
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp.proxy import Origin, ProxyError, parse_proxy_header
from smtp.server import Limits, SmtpServer
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import QUICK, Dialogue, Recorder, dialling

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = b"\xc0\x00\x02\x07\xc0\x00\x02\x01\x10\x00\x01\xd1"
V6 = bytes.fromhex("20010db8" + "00" * 11 + "07" + "20010db8" + "00" * 11 + "01") + b"\x10\0\1\xd1"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 465\r\n"


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        (V1, "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4096 465\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 4096 465\r\n", "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", None),
        (v2(0x21, 0x11, V4), "192.0.2.7"),
        (v2(0x21, 0x21, V6), "2001:db8::7"),
        (v2(0x21, 0x11, V4 + b"\x04\x00\x01x"), "192.0.2.7"),  # more behind the addresses
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, V4), None),
    ],
)
def test_a_header_says_for_whom_the_balancer_stands(raw: bytes, address: str | None) -> None:
    for length in range(len(raw)):
        assert parse_proxy_header(raw[:length]) is None
    assert parse_proxy_header(raw) == Origin(address, len(raw))
    assert parse_proxy_header(raw + b"EHLO x\r\n") == Origin(address, len(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"EHLO client.example\r\n",
        b"\x16\x03\x01",
        b"proxy TCP4 192.0.2.7 192.0.2.1 4096 465\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4096\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 465 \r\n",
        b"PROXY  TCP4 192.0.2.7 192.0.2.1 4096 465\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 65536\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 04096 465\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 465\r\n",
        b"PROXY TCP4 192.0.2.07 192.0.2.1 4096 465\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.1 4096 465\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4096 465\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.1 4096 465\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 4096 465\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4096 465\n" + b"x" * 107,
        b"PROXY UNKNOWN " + b"x" * 100,
        v2(0x22, 0x11, V4),  # a command that does not exist
        v2(0x11, 0x11, V4),  # version 1 in binary
        v2(0x21, 0x12, V4),  # UDP
        v2(0x21, 0x31, bytes(216)),  # a Unix socket
        v2(0x21, 0x00, b""),
        v2(0x21, 0x11, V4[:-1]),
        v2(0x21, 0x21, V4),
        v2(0x20, 0x00, b"x" * 4097),
        SIGNATURE[:-1] + b"\r\x21\x11",
    ],
)
def test_what_is_no_header_is_refused(raw: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_proxy_header(raw)


@given(st.one_of(st.binary(max_size=150), st.binary(max_size=60).map(SIGNATURE.__add__)))
def test_whatever_comes_is_understood_or_refused(raw: bytes) -> None:
    try:
        origin = parse_proxy_header(raw)
    except ProxyError:
        return
    assert origin is None or origin.length <= len(raw)


class Office(Recorder):
    """Keeps who signed in from where."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[str] = []

    async def authenticate(self, session, username, password):
        self.peers.append(session.peer)
        return await super().authenticate(session, username, password)


def behind(authority: Authority, handler: Recorder, network: str, **limits: float) -> SmtpServer:
    return SmtpServer(
        handler,
        hostname="mail.example.com",
        tls=authority.server_context(),
        limits=Limits(**{**QUICK, **limits}),  # type: ignore[arg-type]
        proxy_networks=(ip_network(network),),
    )


async def port_of(server: SmtpServer, *, implicit_tls: bool) -> int:
    listener = await server.listen("127.0.0.1", 0, implicit_tls=implicit_tls)
    return int(listener.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (V1, "192.0.2.7"),
        (v2(0x21, 0x21, V6), "2001:db8::7"),
        (v2(0x20, 0x00, b""), "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
def test_the_client_behind_the_balancer_is_the_peer(
    run: Run, authority: Authority, header: bytes, peer: str, split: bool
) -> None:
    async def dialogue() -> None:
        handler = Office()
        server = behind(authority, handler, "127.0.0.0/8")
        port = await port_of(server, implicit_tls=False)
        async with dialling(port) as client:
            for piece in [header[i : i + 1] for i in range(len(header))] if split else [header]:
                client.send(piece)
                await asyncio.sleep(0)
            assert await client.hear() == "220 mail.example.com ESMTP"
            await client.say("EHLO client.example")
            await client.say("STARTTLS")
            await client.start_tls(authority.client_context())
            assert (await client.sign_in()).startswith("235")
        assert handler.peers == [peer]
        await server.drain(timeout=2)

    run(dialogue())


def test_the_handshake_may_arrive_together_with_the_header(run: Run, authority: Authority) -> None:
    """Played by hand, for no client of ours would write both at once."""

    async def dialogue() -> None:
        server = behind(authority, Recorder(), "127.0.0.1/32")
        port = await port_of(server, implicit_tls=True)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        async with dialling(port) as raw:
            raw.send(V1 + outgoing.read())
            greeting = b""
            while not greeting:
                incoming.write(await raw.reader.read(65_536))
                try:
                    greeting = tls.read(1000)
                except ssl.SSLWantReadError:
                    raw.send(outgoing.read())
            assert greeting == b"220 mail.example.com ESMTP\r\n"
        await server.drain(timeout=2)

    run(dialogue())


@pytest.mark.parametrize("implicit_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "opening", [b"EHLO client.example\r\n", b"PROXY TCP4 1.2.3 4\r\n", v2(0x21, 0x12, V4), b"PROXY"]
)
def test_a_balancer_without_a_good_header_is_closed_without_a_word(
    run: Run, authority: Authority, opening: bytes, implicit_tls: bool
) -> None:
    async def dialogue() -> None:
        server = behind(authority, Recorder(), "127.0.0.0/8", proxy_header=0.2)
        port = await port_of(server, implicit_tls=implicit_tls)
        async with dialling(port) as client:
            client.send(opening)
            assert await client.is_closed()
        await server.drain(timeout=2)

    run(dialogue())


def test_nobody_else_can_say_who_he_is(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        server = behind(authority, Recorder(), "192.0.2.0/24", greeting_delay=0.1)
        port = await port_of(server, implicit_tls=False)
        async with dialling(port) as client:
            client.send(V1)
            assert (await client.hear()).startswith("554 5.5.0")
        async with dialling(port) as client:
            assert await client.hear() == "220 mail.example.com ESMTP"
        await server.drain(timeout=2)

    run(dialogue())


def test_talking_early_behind_the_header_is_noticed_too(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        server = behind(authority, Recorder(), "127.0.0.0/8")
        port = await port_of(server, implicit_tls=False)
        async with dialling(port) as client:
            client.send(V1 + b"EHLO client.example\r\n")
            assert (await client.hear()).startswith("554 5.5.0")
        await server.drain(timeout=2)

    run(dialogue())


def test_clients_are_counted_by_their_own_address(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        server = behind(authority, Recorder(), "127.0.0.0/8", connections_per_ip=1)
        port = await port_of(server, implicit_tls=False)

        async def greeting(client: Dialogue, number: int) -> str:
            client.send(b"PROXY TCP4 192.0.2.%d 192.0.2.1 4096 587\r\n" % number)
            return (await client.hear())[:9]

        async with dialling(port) as one, dialling(port) as two, dialling(port) as three:
            assert (await greeting(one, 7))[:3] == "220"
            assert (await greeting(two, 8))[:3] == "220"
            assert await greeting(three, 7) == "421 4.7.0"
        await server.drain(timeout=2)

    run(dialogue())


def test_draining_closes_who_has_not_said_for_whom_he_stands(
    run: Run, authority: Authority
) -> None:
    async def dialogue() -> None:
        server = behind(authority, Recorder(), "127.0.0.0/8")
        port = await port_of(server, implicit_tls=False)
        async with dialling(port) as client:
            client.send(b"PRO")
            await asyncio.sleep(0.05)
            await server.drain(timeout=2)
            assert await client.is_closed()

    run(dialogue())

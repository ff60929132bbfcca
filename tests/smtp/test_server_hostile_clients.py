"""What is smuggled, injected or said too early."""

import asyncio

import pytest

from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import HEADER, Recorder, dialling, open_message, serving, serving_one

ENDINGS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "NUL before the dot": b"\r\n\0.\r\n",
    "NUL behind the dot": b"\r\n.\0\r\n",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
def test_no_fake_ending_ends_a_message(
    run: Run, authority: Authority, ending: bytes, split: bool
) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority) as client:
            await open_message(client)
            smuggled = b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
            content = HEADER + b"text" + ending + smuggled + HEADER + b"bad\r\n.\r\n"
            for piece in [content[i : i + 1] for i in range(len(content))] if split else [content]:
                client.send(piece)
                if split:
                    await asyncio.sleep(0)
            assert (await client.hear()).startswith("554 5.6.0")
            assert await client.is_closed()
        assert all(message.aborted and not message.finished for message in handler.messages)
        assert len(handler.messages) <= 1

    run(dialogue())


@pytest.mark.parametrize(
    "line", [b"NOOP\n", b"NO\rOP\r\n", b"NO\0OP\r\n", b"NOOP\r\r\n", b"NOOP\n\r\n"]
)
def test_bare_bytes_in_commands_end_the_session(
    run: Run, authority: Authority, line: bytes
) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context()) as (_, port),
            dialling(port) as client,
        ):
            await client.hear()
            await client.say("EHLO client.example")
            client.send(line + b"NOOP\r\n")
            assert (await client.hear()).startswith("500 5.5.2")
            assert await client.is_closed()

    run(dialogue())


@pytest.mark.parametrize(
    "injected", [b"MAIL FROM:<user@example.com>\r\n", b"AUTH PLAIN AHVzZXIAeA==\r\n", b"NOOP\r\n"]
)
def test_nothing_injected_behind_starttls_is_executed(
    run: Run, authority: Authority, injected: bytes
) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving(handler, authority.server_context()) as (_, port):
            async with dialling(port) as client:
                await client.hear()
                await client.say("EHLO client.example")
                client.send(b"STARTTLS\r\n" + injected)
                assert (await client.hear()).startswith("554 5.5.0")
                assert await client.is_closed()
            async with dialling(port) as client:
                await client.hear()
                await client.say("EHLO client.example")
                assert (await client.say("STARTTLS")).startswith("220")
                client.send(injected)
                assert not (await client.reader.read(1)).startswith(b"2")
        assert not handler.sign_ins

    run(dialogue())


@pytest.mark.parametrize("early", [b"EHLO x\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01"])
def test_who_talks_before_the_greeting_is_sent_away(
    run: Run, authority: Authority, early: bytes
) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context(), greeting_delay=0.3) as (_, port),
            dialling(port) as client,
        ):
            client.send(early)
            assert (await client.hear()).startswith("554 5.5.0")
            assert await client.is_closed()

    run(dialogue())


@pytest.mark.parametrize(
    "group",
    [
        b"EHLO x\r\nNOOP\r\n",
        b"NOOP\r\nNOOP\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\n",
    ],
)
def test_pipelining_before_ehlo_and_http_are_sent_away(
    run: Run, authority: Authority, group: bytes
) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context()) as (_, port),
            dialling(port) as client,
        ):
            await client.hear()
            client.send(group)
            assert (await client.hear()).startswith("554 5.5.0")
            assert await client.is_closed()

    run(dialogue())


def test_a_client_without_tls_on_the_tls_port_gets_nothing(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context(), implicit_tls=True) as (_, port),
            dialling(port) as client,
        ):
            client.send(b"EHLO client.example\r\n")
            assert not (await client.reader.read(3)).startswith(b"2")

    run(dialogue())


def test_who_reads_no_replies_is_not_read_either(run: Run, authority: Authority) -> None:
    """Else one client could have us keep replies for it until the memory is full."""
    count = 600_000  # with more replies than a kernel keeps

    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority) as client:
            await client.say("MAIL FROM:<user@example.com>")
            await client.say("RCPT TO:<a@example.net>")
            assert await client.say(b"BDAT %d\r\n" % len(HEADER) + HEADER[:-2]) == "250 2.0.0 OK"
            [message] = handler.messages
            client.send(b"BDAT 1\r\nx" * count + b"BDAT 2 LAST\r\n\r\n")
            taken = -1
            while taken < len(message.chunks):
                taken = len(message.chunks)
                await asyncio.sleep(0.5)
            assert 0 < taken < count
            heard = b""
            while not heard.endswith(b"250 2.0.0 Taken\r\n"):
                heard = heard[-20:] + await client.reader.read(65_536)
        assert message.body == b"x" * count + b"\r\n"

    run(dialogue())

"""Limits of sizes, tries, connections and time."""

import asyncio

import pytest

from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import (
    HEADER,
    Recorder,
    dialling,
    open_message,
    serving,
    serving_one,
    signed_in,
)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP " + b"x" * 505, "250"),  # 512 octets with CRLF
        (b"NOOP " + b"x" * 506, "500 5.5.2"),
        (b"AUTH PLAIN " + b"A" * 12_272, "501 5.5.2"),  # long enough to be read, and no base64
        (b"AUTH PLAIN " + b"A" * 12_276, "500 5.5.2"),
    ],
)
def test_lines_have_the_length_that_rfcs_give_them(
    run: Run, authority: Authority, line: bytes, reply: str
) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context(), implicit_tls=True) as (_, port),
            dialling(port, authority.client_context()) as client,
        ):
            await client.hear()
            await client.say("EHLO client.example")
            assert (await client.say(line)).startswith(reply)

    run(dialogue())


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (HEADER + b"x" * 2000 + b"\r\n.\r\n", "552 5.3.4"),
        (b"From: a@b.c\r\n" + b"X: y\r\n" * 100 + b"\r\n.\r\n", "552 5.3.4"),
        (b"X: " + b"y" * 999 + b"\r\n\r\n.\r\n", "552 5.3.4"),
        (b" From: a@b.c\r\n\r\n.\r\n", "554 5.6.0"),
        (b"From : a@b.c\r\n\r\n.\r\n", "554 5.6.0"),
        (b"no header\r\n.\r\n", "554 5.6.0"),
    ],
)
def test_content_beyond_the_limits_is_refused_and_the_session_goes_on(
    run: Run, authority: Authority, content: bytes, reply: str
) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority, message_size=1500, header_size=500) as client:
            assert (await client.say("MAIL FROM:<a@b.c> SIZE=1501")).startswith("552 5.3.4")
            await open_message(client)
            client.send(content)
            assert (await client.hear()).startswith(reply)
            await open_message(client)
            client.send(HEADER + b".\r\n")
            assert await client.hear() == "250 2.0.0 Taken"
        assert [message.finished for message in handler.messages][-1]
        assert all(message.aborted for message in handler.messages[:-1])

    run(dialogue())


def test_who_sends_twice_the_limit_is_cut_off(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority, message_size=1000) as client:
            await open_message(client)
            client.send(HEADER + b"x" * 5000)
            assert (await client.hear()).startswith("552 5.3.4")
            assert await client.is_closed()
        assert all(message.aborted for message in handler.messages)

    run(dialogue())


def test_three_wrong_passwords_end_the_session_and_each_is_delayed(
    run: Run, authority: Authority
) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with (
            serving(
                handler, authority.server_context(), implicit_tls=True, auth_failure_delay=0.1
            ) as (_, port),
            dialling(port, authority.client_context()) as client,
        ):
            await client.hear()
            await client.say("EHLO client.example")
            start = asyncio.get_running_loop().time()
            assert await client.say("AUTH PLAIN AHVzZXIAeA==") == "535 5.7.8 Wrong"
            assert await client.say("AUTH PLAIN AHVzZXIAeA==") == "535 5.7.8 Wrong"
            assert (await client.say("AUTH PLAIN AHVzZXIAeA==")).startswith("421 4.7.0")
            assert asyncio.get_running_loop().time() - start > 0.29
            assert await client.is_closed()
        assert handler.sign_ins == [("user", "x")] * 3

    run(dialogue())


def test_connections_of_one_address_are_counted_on_both_ports(
    run: Run, authority: Authority
) -> None:
    async def dialogue() -> None:
        async with serving(Recorder(), authority.server_context(), connections_per_ip=2) as (
            server,
            port,
        ):
            implicit = await server.listen("127.0.0.1", 0, implicit_tls=True)
            other = implicit.sockets[0].getsockname()[1]
            async with dialling(port) as first, dialling(other, authority.client_context()):
                await first.hear()
                async with dialling(port) as third:
                    assert (await third.hear()).startswith("421 4.7.0")
                    assert await third.is_closed()
            await asyncio.sleep(0.1)
            async with dialling(port) as fourth:
                assert (await fourth.hear()).startswith("220")

    run(dialogue())


def test_quiet_and_slow_clients_are_cut_off(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving(
            handler,
            authority.server_context(),
            implicit_tls=True,
            before_auth=0.3,
            idle=0.3,
            rate_window=0.3,
        ) as (_, port):
            async with dialling(port, authority.client_context()) as client:
                await client.hear()
                for _ in range(5):
                    await client.say("EHLO x")
                    await asyncio.sleep(0.05)
                assert (await client.hear()).startswith("421 4.4.2")
            async with signed_in(port, authority.client_context()) as client:
                assert (await client.hear()).startswith("421 4.4.2")
            async with signed_in(port, authority.client_context()) as client:
                await open_message(client)
                client.send(HEADER)
                assert (await client.hear()).startswith("421 4.4.2")
                assert await client.is_closed()
        assert handler.messages[0].aborted

    run(dialogue())


def test_content_that_drips_in_is_cut_off(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving_one(handler, authority, rate_window=0.3, bytes_per_second=500) as client:
            await open_message(client)
            client.send(HEADER + b"x" * 500)
            answer = asyncio.create_task(client.hear())
            for _ in range(40):
                client.send(b"x")  # 20 a second
                await asyncio.sleep(0.05)
                if answer.done():
                    break
            assert (await answer).startswith("421 4.4.2")
        assert handler.messages[0].aborted

    run(dialogue())


def test_a_handshake_that_never_comes_is_not_waited_for(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        async with (
            serving(Recorder(), authority.server_context(), implicit_tls=True, before_auth=0.3) as (
                _,
                port,
            ),
            dialling(port) as client,
        ):
            assert await client.is_closed()

    run(dialogue())

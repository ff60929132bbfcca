"""Literal transcripts against our server, over sockets, on both event loops."""

import asyncio
import gc
import logging
import smtplib
import time
from asyncio.sslproto import SSLProtocol
from email.message import EmailMessage

import pytest

from smtp.reply import Reply
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import PASSWORD, Dialogue, Recorder, dialling, serving, signed_in

HEADER = b"From: user@example.com\r\nSubject: x\r\n\r\n"
TLS_EHLO = (
    "250-mail.example.com|250-PIPELINING|250-SIZE 36700160|250-8BITMIME|250-SMTPUTF8"
    "|250-CHUNKING|250-ENHANCEDSTATUSCODES|250 AUTH PLAIN LOGIN"
)


def test_a_session_with_starttls(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with (
            serving(handler, authority.server_context()) as (_, port),
            dialling(port) as client,
        ):
            assert await client.hear() == "220 mail.example.com ESMTP"
            hello = await client.say("EHLO client.example")
            assert hello.endswith("|250 STARTTLS")
            assert "AUTH" not in hello
            assert await client.say("AUTH PLAIN AHVzZXIAeA==") == (
                "538 5.7.11 Use STARTTLS before you sign in"
            )
            assert (await client.say("MAIL FROM:<user@example.com>")).startswith("530 5.7.0")
            assert await client.say("STARTTLS") == "220 2.0.0 Start TLS now"
            await client.start_tls(authority.client_context())
            assert (await client.say("MAIL FROM:<user@example.com>")).startswith("503")
            assert await client.say("EHLO client.example") == TLS_EHLO
            assert (await client.say("STARTTLS")).startswith("503")
            assert await client.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
            assert await client.say("dXNlcg==") == "334 UGFzc3dvcmQ6"
            assert await client.say("Y29ycjNjdC1ob3JzZQ==") == "235 2.7.0 Signed in"
            client.send(
                b"MAIL FROM:<user@example.com> BODY=8BITMIME SIZE=9\r\n"
                b"RCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
            )
            assert [(await client.hear())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
            client.send(HEADER + b"..dot\r\nbody\xff\r\n.\r\nNOOP\r\n")
            assert await client.hear() == "250 2.0.0 Taken"
            assert await client.hear() == "250 2.0.0 OK"
            assert await client.say("QUIT") == "221 2.0.0 Goodbye"
            assert await client.is_closed()
        [message] = handler.messages
        assert message.finished
        assert not message.aborted
        assert message.header.encode() == HEADER
        assert message.body == b"..dot\r\nbody\xff\r\n"
        assert message.envelope.sender == "user@example.com"
        assert message.envelope.recipients == ["a@example.net", "b@example.net"]
        assert (message.envelope.size, message.envelope.body) == (9, "8BITMIME")

    run(dialogue())


def test_smtplib_can_use_both_ports(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        message = EmailMessage()
        message["From"], message["To"] = "user@example.com", "a@example.net"
        message.set_content("Grüße\n.\n" * 3000, cte="8bit")

        def send(smtp: smtplib.SMTP) -> None:
            with smtp:
                if not isinstance(smtp, smtplib.SMTP_SSL):
                    smtp.starttls(context=authority.client_context())
                smtp.login("user", PASSWORD)
                smtp.send_message(message)

        context = authority.server_context()
        async with (
            serving(handler, context) as (_, plain),
            serving(handler, context, implicit_tls=True) as (_, implicit),
        ):
            await asyncio.to_thread(lambda: send(smtplib.SMTP("localhost", plain)))
            await asyncio.to_thread(
                lambda: send(
                    smtplib.SMTP_SSL("localhost", implicit, context=authority.client_context())
                )
            )
        assert [one.body.count("Grüße\r\n..\r\n".encode()) for one in handler.messages] == [
            3000
        ] * 2

    run(dialogue())


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
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            await client.say("MAIL FROM:<user@example.com>")
            await client.say("RCPT TO:<a@example.net>")
            await client.say("DATA")
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


async def _open_message(client) -> None:
    await client.say("MAIL FROM:<user@example.com>")
    await client.say("RCPT TO:<a@example.net>")
    assert (await client.say("DATA")).startswith("354")


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
        async with (
            serving(
                handler,
                authority.server_context(),
                implicit_tls=True,
                message_size=1500,
                header_size=500,
            ) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            assert (await client.say("MAIL FROM:<a@b.c> SIZE=1501")).startswith("552 5.3.4")
            await _open_message(client)
            client.send(content)
            assert (await client.hear()).startswith(reply)
            await _open_message(client)
            client.send(HEADER + b".\r\n")
            assert await client.hear() == "250 2.0.0 Taken"
        assert [message.finished for message in handler.messages][-1]
        assert all(message.aborted for message in handler.messages[:-1])

    run(dialogue())


def test_who_sends_twice_the_limit_is_cut_off(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with (
            serving(handler, authority.server_context(), implicit_tls=True, message_size=1000) as (
                _,
                port,
            ),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
            client.send(HEADER + b"x" * 5000)
            assert (await client.hear()).startswith("552 5.3.4")
            assert await client.is_closed()
        assert all(message.aborted for message in handler.messages)

    run(dialogue())


def test_long_body_lines_pass_unchanged(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        body = (b"x" * 8190 + b"\r\n") * 40
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
            client.send(HEADER + body + b".\r\n")
            assert await client.hear() == "250 2.0.0 Taken"
        assert handler.messages[0].body == body

    run(dialogue())


@pytest.mark.parametrize(
    ("setting", "reply"),
    [
        ({"refusal": Reply(550, "5.7.1", "Not yours")}, "550 5.7.1 Not yours"),
        ({"verdict": Reply(452, "4.3.1", "Full")}, "452 4.3.1 Full"),
        ({"ending": Reply(554, "5.0.0", "No")}, "554 5.0.0 No"),
        ({"refusal": RuntimeError(PASSWORD)}, "451 4.3.0"),
        ({"ending": RuntimeError(PASSWORD)}, "451 4.3.0"),
    ],
)
def test_what_the_handler_says_is_heard_after_the_final_dot(
    run: Run, authority: Authority, setting: dict, reply: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def dialogue() -> None:
        handler = Recorder(**setting)
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
            client.send(HEADER + b"x\r\n" * 100_000)
            await asyncio.sleep(0.05)
            client.send(b"SECRET\r\n.\r\n")
            assert (await client.hear()).startswith(reply)
            assert (await client.say("NOOP")).startswith("250")

    caplog.set_level(logging.DEBUG, "smtp")
    run(dialogue())
    assert PASSWORD not in caplog.text
    assert "AHVzZXIA" not in caplog.text
    assert "SECRET" not in caplog.text


def test_the_sink_has_the_first_megabyte_before_the_client_sends_its_last(
    run: Run, authority: Authority
) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        piece = (b"x" * 76 + b"\r\n") * 1000
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
            client.send(HEADER)
            for _ in range(20):
                client.send(piece)
                await client.writer.drain()
            await asyncio.sleep(0.3)
            assert len(handler.messages[0].body) >= 2**20
            assert not handler.messages[0].finished
            client.send(piece + b".\r\n")
            assert await client.hear() == "250 2.0.0 Taken"
        assert handler.messages[0].body == piece * 21

    run(dialogue())


async def _send_for_ever(client: Dialogue) -> None:
    while True:
        client.send((b"x" * 76 + b"\r\n") * 1000)
        await client.writer.drain()


def test_a_slow_sink_stops_the_client(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        gate = asyncio.Event()
        handler = Recorder(gate=gate)
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
            client.send(HEADER)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_send_for_ever(client), 0.5)
            [message] = handler.messages
            assert len(message.body) < 2**20
            gate.set()
            client.send(b"\r\n.\r\n")
            assert await client.hear() == "250 2.0.0 Taken"

    run(dialogue())


def test_a_client_that_goes_away_aborts_its_message_but_not_after_the_dot(
    run: Run, authority: Authority
) -> None:
    async def dialogue() -> None:
        gate = asyncio.Event()
        handler = Recorder(gate=gate)
        async with serving(handler, authority.server_context(), implicit_tls=True) as (_, port):
            async with signed_in(port, authority.client_context()) as client:
                await _open_message(client)
                client.send(HEADER + b"half")
                await asyncio.sleep(0.1)
            async with signed_in(port, authority.client_context()) as client:
                await _open_message(client)
                client.send(HEADER + b"whole\r\n.\r\n")
                await asyncio.sleep(0.1)
            gate.set()
            await asyncio.sleep(0.1)
        half, whole = handler.messages
        assert (half.finished, half.aborted) == (False, True)
        assert (whole.finished, whole.aborted) == (True, False)

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
                await _open_message(client)
                client.send(HEADER)
                assert (await client.hear()).startswith("421 4.4.2")
                assert await client.is_closed()
        assert handler.messages[0].aborted

    run(dialogue())


def test_content_that_drips_in_is_cut_off(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with (
            serving(
                handler,
                authority.server_context(),
                implicit_tls=True,
                rate_window=0.3,
                bytes_per_second=500,
            ) as (_, port),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
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


def test_draining_ends_idle_sessions_and_finishes_messages(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving(handler, authority.server_context(), implicit_tls=True) as (
            server,
            port,
        ):
            context = authority.client_context()
            async with signed_in(port, context) as idle, signed_in(port, context) as busy:
                await _open_message(busy)
                busy.send(HEADER)
                await asyncio.sleep(0.05)
                drained = asyncio.create_task(server.drain())
                assert (await idle.hear()).startswith("421 4.3.2")
                assert await idle.is_closed()
                busy.send(b"late\r\n.\r\n")
                assert await busy.hear() == "250 2.0.0 Taken"
                assert (await busy.hear()).startswith("421 4.3.2")
                await drained
                with pytest.raises(OSError):
                    await asyncio.open_connection("127.0.0.1", port)
        assert handler.messages[0].finished

    run(dialogue())


def test_draining_cuts_what_does_not_end(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder(gate=asyncio.Event())
        async with (
            serving(handler, authority.server_context(), implicit_tls=True) as (
                server,
                port,
            ),
            signed_in(port, authority.client_context()) as client,
        ):
            await _open_message(client)
            client.send(HEADER + b"x\r\n.\r\n")
            await asyncio.sleep(0.05)
            await server.drain(timeout=0.1)
        assert handler.messages[0].aborted

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


def test_what_tls_held_for_a_client_goes_with_it(authority: Authority) -> None:
    def visit(port: int) -> None:
        with smtplib.SMTP_SSL("localhost", port, context=authority.client_context()) as client:
            client.ehlo()

    async def dialogue() -> int:
        async with serving(Recorder(), authority.server_context(), implicit_tls=True) as (_, port):
            for _ in range(5):
                await asyncio.to_thread(visit, port)
            deadline = time.monotonic() + 5
            while held := sum(isinstance(each, SSLProtocol) for each in gc.get_objects()):
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.1)
            return held

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(dialogue()) == 0
    finally:
        gc.enable()

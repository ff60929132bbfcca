"""Literal transcripts against our server, over sockets, on both event loops."""

import asyncio
import gc
import smtplib
import time
from asyncio.sslproto import SSLProtocol
from email.message import EmailMessage

import pytest

from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import HEADER, PASSWORD, Recorder, dialling, open_message, serving, signed_in

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


def test_draining_ends_idle_sessions_and_finishes_messages(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        async with serving(handler, authority.server_context(), implicit_tls=True) as (
            server,
            port,
        ):
            context = authority.client_context()
            async with signed_in(port, context) as idle, signed_in(port, context) as busy:
                await open_message(busy)
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
            await open_message(client)
            client.send(HEADER + b"x\r\n.\r\n")
            await asyncio.sleep(0.05)
            await server.drain(timeout=0.1)
        assert handler.messages[0].aborted

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

"""Content on its way to the handler, and what the handler says."""

import asyncio
import logging

import pytest

from smtp.reply import Reply
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.fakes import (
    HEADER,
    PASSWORD,
    Dialogue,
    Recorder,
    open_message,
    serving,
    serving_one,
    signed_in,
)


def test_long_body_lines_pass_unchanged(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        handler = Recorder()
        body = (b"x" * 8190 + b"\r\n") * 40
        async with serving_one(handler, authority) as client:
            await open_message(client)
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
        async with serving_one(handler, authority) as client:
            await open_message(client)
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
        async with serving_one(handler, authority) as client:
            await open_message(client)
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
        async with serving_one(handler, authority) as client:
            await open_message(client)
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
                await open_message(client)
                client.send(HEADER + b"half")
                await asyncio.sleep(0.1)
            async with signed_in(port, authority.client_context()) as client:
                await open_message(client)
                client.send(HEADER + b"whole\r\n.\r\n")
                await asyncio.sleep(0.1)
            gate.set()
            await asyncio.sleep(0.1)
        half, whole = handler.messages
        assert (half.finished, half.aborted) == (False, True)
        assert (whole.finished, whole.aborted) == (True, False)

    run(dialogue())

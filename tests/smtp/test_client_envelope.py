"""Starting a message: MAIL, RCPT and DATA."""

import asyncio

import pytest

from smtp.failure import FailureKind, SmtpFailure
from smtp.target import Security
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import connected
from tests.smtp.fakes import Play, Stage, playing


async def opened(play: Play, authority: Authority, **options) -> tuple[SmtpFailure, bytes, bool]:
    """How starting a message for two recipients fails, what the server heard, and if it goes on."""
    async with playing(play) as theatre:
        async with connected(theatre.port, authority, Security.NONE, None) as connection:
            with pytest.raises(SmtpFailure) as caught:
                await connection.start_message(
                    "user@example.com", ["a@example.net", "b@example.net"], **options
                )
            reusable = connection.reusable
        await asyncio.sleep(0.05)
        return caught.value, theatre.heard, reusable


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)], ids=["step by step", "pipelined"])
@pytest.mark.parametrize(
    ("replies", "kind", "recipient"),
    [
        (["550 5.1.8 no", "503 no", "503 no", "503 no"], FailureKind.SENDER_REFUSED, None),
        (["452 4.3.1 full", "503 no", "503 no", "503 no"], FailureKind.REFUSED, None),
        (["250 ok", "550 no", "250 ok", "554 no"], FailureKind.RECIPIENT_REFUSED, "a@example.net"),
        (["250 ok", "250 ok", "450 no", "554 no"], FailureKind.RECIPIENT_REFUSED, "b@example.net"),
        (["250 ok", "251 ok", "250 ok", "554 5.7.1 no"], FailureKind.REFUSED, None),
    ],
)
def test_a_refusal_leaves_a_connection_that_can_be_used(
    run: Run,
    authority: Authority,
    extensions: tuple[str, ...],
    replies: list[str],
    kind: FailureKind,
    recipient: str | None,
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*extensions)
        for reply in replies:
            if (await stage.line()).startswith(b"RSET"):
                stage.say("250 reset")
                break
            stage.say(reply)
        else:
            await stage.line()
            stage.say("250 reset")
        await stage.rest()

    async def dialogue() -> None:
        failure, heard, reusable = await opened(play, authority)
        assert (failure.kind, failure.recipient) == (kind, recipient)
        assert failure.reply
        assert failure.permanent is failure.reply.is_permanent
        assert reusable
        assert b"RSET\r\n" in heard
        assert b"\r\n.\r\n" not in heard

    run(dialogue())


def test_a_354_in_spite_of_a_refused_recipient_gets_no_dot(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("PIPELINING")
        for reply in ("250 ok", "550 5.1.1 unknown", "250 ok", "354 go on"):
            await stage.line()
            stage.say(reply)
        await stage.rest()

    async def dialogue() -> None:
        failure, heard, reusable = await opened(play, authority)
        assert (failure.kind, failure.recipient) == (FailureKind.RECIPIENT_REFUSED, "a@example.net")
        assert not reusable
        assert heard.endswith(b"DATA\r\n")

    run(dialogue())


@pytest.mark.parametrize(
    ("extensions", "options", "reply"),
    [
        ((), {"body": "8BITMIME"}, "554 5.6.3"),
        (("8BITMIME",), {"smtputf8": True}, "554 5.6.7"),
        (("SIZE 1000",), {"size": 1001}, "552 5.3.4"),
    ],
)
def test_what_the_server_cannot_take_is_refused_before_it_hears_of_it(
    run: Run, authority: Authority, extensions: tuple[str, ...], options: dict, reply: str
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello(*extensions)
        await stage.rest()

    async def dialogue() -> None:
        failure, heard, reusable = await opened(play, authority, **options)
        assert str(failure.reply).startswith(reply)
        assert failure.permanent
        assert reusable
        assert b"MAIL" not in heard

    run(dialogue())


@pytest.mark.parametrize("address", ["a\r\nRSET", "a\0b@c", "ä@b.c", "a\nb"])
def test_an_address_cannot_smuggle_a_command(run: Run, authority: Authority, address: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello()
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            async with connected(theatre.port, authority, Security.NONE, None) as connection:
                with pytest.raises(ValueError, match="ASCII"):
                    await connection.start_message("user@example.com", [address])
            await asyncio.sleep(0.05)
            assert b"MAIL" not in theatre.heard

    run(dialogue())


def test_who_gives_up_while_the_server_thinks_says_nothing_more(
    run: Run, authority: Authority
) -> None:
    async def play(stage: Stage) -> None:
        await stage.hello("PIPELINING")
        await stage.rest()

    async def dialogue() -> None:
        async with playing(play) as theatre:
            async with connected(theatre.port, authority, Security.NONE, None) as connection:
                opening = connection.start_message("user@example.com", ["a@example.net"])
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(opening, 0.1)
                connection.close()
            await asyncio.sleep(0.05)
            assert b"QUIT" not in theatre.heard

    run(dialogue())

"""Content and the final dot."""

import asyncio

import pytest

from smtp.client import Connection
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply
from smtp.target import Security
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import CONTENT, QUICK, connected
from tests.smtp.fakes import Play, Stage, playing


async def to_content(stage: Stage, *extensions: str) -> None:
    await stage.hello(*extensions)
    for reply in ("250 ok", "250 ok", "354 go on"):
        await stage.line()
        stage.say(reply)


async def send_much(connection: Connection) -> None:
    for _ in range(2000):
        await connection.write((b"x" * 76 + b"\r\n") * 100)
        await asyncio.sleep(0)
    await connection.finish()


async def interrupted(play: Play, authority: Authority) -> tuple[SmtpFailure, bool]:
    async with (
        playing(play) as theatre,
        connected(theatre.port, authority, Security.NONE, None) as connection,
    ):
        await connection.start_message("user@example.com", ["a@example.net"])
        with pytest.raises(SmtpFailure) as caught:
            await send_much(connection)
        return caught.value, connection.reusable


def test_an_early_refusal_is_noticed_during_the_content(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.reader.readexactly(50_000)
        stage.say("552 5.2.2 Full")
        await stage.rest()

    async def dialogue() -> None:
        failure, reusable = await interrupted(play, authority)
        assert (failure.kind, failure.step) == (FailureKind.REFUSED, Step.CONTENT)
        assert failure.reply == Reply(552, "5.2.2", "Full")
        assert not reusable

    run(dialogue())


@pytest.mark.parametrize("word", ["250 2.0.0 Taken already", ""])
def test_an_early_yes_or_a_close_is_no_delivery(run: Run, authority: Authority, word: str) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.reader.readexactly(50_000)
        if word:
            stage.say(word)
            await stage.rest()

    async def dialogue() -> None:
        failure, reusable = await interrupted(play, authority)
        assert failure.kind is FailureKind.CONNECTION_LOST
        assert not failure.permanent
        assert not reusable

    run(dialogue())


def test_a_server_that_stops_reading_times_out(run: Run, authority: Authority) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await asyncio.sleep(10)

    async def dialogue() -> None:
        failure, _ = await interrupted(play, authority)
        assert (failure.kind, failure.step) == (FailureKind.TIMEOUT, Step.CONTENT)

    run(dialogue())


def test_a_message_beyond_the_announced_size_never_gets_its_dot(
    run: Run, authority: Authority
) -> None:
    heard: list[bytes] = []

    async def play(stage: Stage) -> None:
        await to_content(stage, "SIZE 100000")
        heard.append(await stage.reader.read())

    async def dialogue() -> None:
        failure, _ = await interrupted(play, authority)
        assert str(failure.reply).startswith("552 5.3.4")
        assert failure.permanent

    run(dialogue())
    assert b"\r\n.\r\n" not in b"".join(heard)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("", FailureKind.CONNECTION_LOST), ("354 more", FailureKind.CONNECTION_LOST)],
)
def test_no_answer_to_the_dot_is_a_failure(
    run: Run, authority: Authority, answer: str, kind: FailureKind
) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.content()
        if answer:
            stage.say(answer)

    async def dialogue() -> None:
        async with playing(play) as theatre:
            async with connected(theatre.port, authority, Security.NONE, None) as connection:
                await connection.start_message("user@example.com", ["a@example.net"])
                await connection.write(b"no end of line")
                with pytest.raises(SmtpFailure) as caught:
                    await connection.finish()
                assert (caught.value.kind, caught.value.step) == (kind, Step.FINAL_DOT)
                assert not connection.reusable
            assert theatre.heard.endswith(b"no end of line\r\n.\r\n")

    run(dialogue())


@pytest.mark.parametrize(("answer", "reusable"), [("550 5.7.1 spam", True), ("421 bye", False)])
def test_a_refusal_of_the_dot_is_an_answer(
    run: Run, authority: Authority, answer: str, reusable: bool
) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.content()
        stage.say(answer)
        await stage.rest()

    async def dialogue() -> None:
        async with (
            playing(play) as theatre,
            connected(theatre.port, authority, Security.NONE, None) as connection,
        ):
            await connection.start_message("user@example.com", ["a@example.net"])
            await connection.write(CONTENT)
            assert str(await connection.finish()) == answer
            assert connection.reusable is reusable

    run(dialogue())


def test_an_answer_that_drips_in_takes_no_longer_than_its_time(
    run: Run, authority: Authority
) -> None:
    async def play(stage: Stage) -> None:
        await to_content(stage)
        await stage.content()
        stage.writer.write(b"250-")
        while True:
            stage.writer.write(b"x")
            await stage.writer.drain()
            await asyncio.sleep(0.1)

    async def dialogue() -> None:
        async with (
            playing(play) as theatre,
            connected(theatre.port, authority, Security.NONE, None) as connection,
        ):
            await connection.start_message("user@example.com", ["a@example.net"])
            await connection.write(CONTENT)
            async with asyncio.timeout(3 * QUICK.final):
                with pytest.raises(SmtpFailure) as caught:
                    await connection.finish()
            assert (caught.value.kind, caught.value.step) == (FailureKind.TIMEOUT, Step.FINAL_DOT)

    run(dialogue())

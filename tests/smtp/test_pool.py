import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from smtp.client import Connection
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.pool import ConnectionPool
from smtp.session import Envelope
from smtp.sign_on import connect
from smtp.target import Security, Server
from tests.smtp.certificates import Authority
from tests.smtp.conftest import Run
from tests.smtp.connecting import CREDENTIAL, QUICK
from tests.smtp.fakes import Stage, Theatre, playing

MESSAGE = Envelope("a@example.com", ["b@example.net"])

Opener = Callable[[], Awaitable[Connection]]


def opener(theatre: Theatre, authority: Authority, *, sign_in: bool = False) -> Opener:
    async def open_connection() -> Connection:
        return await connect(
            Server("localhost", theatre.port, Security.NONE),
            credential=CREDENTIAL if sign_in else None,
            guard=None,
            tls=authority.client_context(),
            hostname="mail.example.com",
            timeouts=QUICK,
        )

    return open_connection


async def willing(stage: Stage) -> None:
    """Takes every message."""
    await stage.hello("PIPELINING")
    while line := await stage.line():
        if line == b"DATA\r\n":
            stage.say("354 go on")
            await stage.content()
        stage.say("250 ok")


async def send(pool: ConnectionPool, key: str, open_connection: Opener) -> Connection:
    connection = await pool.start_message(key, open_connection, MESSAGE)
    await connection.write(b"From: a@example.com\r\n\r\n")
    assert (await connection.finish()).code == 250
    pool.release(key, connection)
    return connection


def test_a_connection_is_used_again_for_its_key_only(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        begun: list[str] = []
        pool = ConnectionPool(on_start=begun.append)
        async with playing(willing) as theatre:
            open_connection = opener(theatre, authority)
            first = await send(pool, "one", open_connection)
            assert await send(pool, "one", open_connection) is first
            assert await send(pool, "two", open_connection) is not first
            assert len(theatre.stages) == 2
            assert begun == ["new", "kept", "new"]
            await pool.close()
            await asyncio.sleep(0.05)
            assert theatre.heard.count(b"QUIT\r\n") == 2

    run(dialogue())


async def closing_after_one(stage: Stage) -> None:
    await stage.hello()
    for reply in ("250 ok", "250 ok", "354 go on"):
        await stage.line()
        stage.say(reply)
    await stage.content()
    stage.say("250 ok")


async def silently_dead(stage: Stage) -> None:
    """Takes one message, and closes only when it hears of the next."""
    await closing_after_one(stage)
    await stage.line()


async def ending_at_the_next(stage: Stage) -> None:
    await closing_after_one(stage)
    await stage.line()
    stage.say("421 4.4.2 Idle for too long")


async def saying_goodbye(stage: Stage) -> None:
    await closing_after_one(stage)
    stage.say("421 4.4.2 Idle for too long")
    await stage.rest()


@pytest.mark.parametrize(
    "play", [closing_after_one, silently_dead, ending_at_the_next, saying_goodbye]
)
def test_a_dead_idle_connection_fails_no_message(run: Run, authority: Authority, play) -> None:
    async def dialogue() -> None:
        begun: list[str] = []
        pool = ConnectionPool(on_start=begun.append)
        async with playing(play, willing) as theatre:
            first = await send(pool, "one", opener(theatre, authority))
            await asyncio.sleep(0.05)
            assert await send(pool, "one", opener(theatre, authority)) is not first
            assert len(theatre.stages) == 2
            assert begun == ["new", "new"]
            await pool.close()

    run(dialogue())


def test_a_fresh_connection_that_fails_is_not_tried_again(run: Run, authority: Authority) -> None:
    async def dropping(stage: Stage) -> None:
        await stage.hello()
        await stage.line()

    async def dialogue() -> None:
        pool = ConnectionPool()
        async with playing(dropping) as theatre:
            with pytest.raises(SmtpFailure) as caught:
                await send(pool, "one", opener(theatre, authority))
            assert (caught.value.kind, caught.value.step) == (
                FailureKind.CONNECTION_LOST,
                Step.MAIL,
            )
            assert len(theatre.stages) == 1
            await pool.close()

    run(dialogue())


def test_failed_sign_ins_hold_no_place(run: Run, authority: Authority) -> None:
    async def refusing(stage: Stage) -> None:
        await stage.hello("AUTH PLAIN")
        await stage.line()
        stage.say("535 no")
        await stage.rest()

    async def dialogue() -> None:
        pool = ConnectionPool(per_key=1, wait=0.2)
        async with playing(refusing) as theatre:
            for _ in range(3):
                with pytest.raises(SmtpFailure) as caught:
                    await pool.acquire("one", opener(theatre, authority, sign_in=True))
                assert caught.value.kind is FailureKind.AUTH_REFUSED
            assert len(theatre.stages) == 3
            await pool.close()

    run(dialogue())


def test_places_are_bounded_and_waited_for(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        pool = ConnectionPool(per_key=2, total=3, wait=0.3)
        async with playing(willing) as theatre:
            open_connection = opener(theatre, authority)
            one = await pool.acquire("one", open_connection)
            two = await pool.acquire("one", open_connection)
            with pytest.raises(SmtpFailure) as caught:
                await pool.acquire("one", open_connection)
            assert (caught.value.kind, caught.value.step) == (FailureKind.TIMEOUT, Step.POOL)
            other = await pool.acquire("two", open_connection)
            waiting = asyncio.create_task(pool.acquire("three", open_connection))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            pool.release("one", one)  # idle, so its place goes to whoever needs one
            third = await waiting
            assert not one.reusable
            for key, connection in (("one", two), ("two", other), ("three", third)):
                pool.release(key, connection)
            assert len(theatre.stages) == 4
            await pool.close()

    run(dialogue())


def test_a_full_server_leaves_room_for_the_others(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        pool = ConnectionPool(
            per_server=2, total=4, wait=0.3, server_of=lambda key: key.partition("@")[2]
        )
        async with playing(willing) as theatre:
            open_connection = opener(theatre, authority)
            first = await pool.acquire("one@stalled", open_connection)
            await pool.acquire("two@stalled", open_connection)
            with pytest.raises(SmtpFailure) as caught:
                await pool.acquire("three@stalled", open_connection)
            assert caught.value.step is Step.POOL
            # Who waits stands in nobody's way, and gets the place of a connection that is idle.
            waits = asyncio.create_task(pool.acquire("three@stalled", open_connection))
            await asyncio.sleep(0)
            other = await pool.acquire("four@other", open_connection)
            pool.release("four@other", other)
            assert not waits.done()
            pool.release("one@stalled", first)
            assert (await waits).reusable
            assert not first.reusable
            assert other.reusable

    run(dialogue())


def test_a_waiter_gets_the_connection_that_is_released(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        pool = ConnectionPool(per_key=1)
        async with playing(willing) as theatre:
            open_connection = opener(theatre, authority)
            one = await pool.acquire("one", open_connection)
            waiting = [asyncio.create_task(pool.acquire("one", open_connection)) for _ in range(3)]
            for task in waiting:
                await asyncio.sleep(0.01)
                pool.release("one", one)
                assert await task is one
            one.abort()
            pool.release("one", one)
            await pool.close()
            assert len(theatre.stages) == 1

    run(dialogue())


def test_idle_connections_are_closed(run: Run, authority: Authority) -> None:
    async def dialogue() -> None:
        pool = ConnectionPool(idle=0.05)
        async with playing(willing) as theatre:
            one = await send(pool, "one", opener(theatre, authority))
            await asyncio.sleep(0.2)
            assert not one.reusable
            assert theatre.heard.endswith(b"QUIT\r\n")
            await pool.close()

    run(dialogue())


def test_whose_turn_is_taken_by_another_waits_no_longer_for_it(
    run: Run, authority: Authority
) -> None:
    async def dialogue() -> None:
        pool = ConnectionPool(per_key=1, wait=0.3)
        async with playing(willing) as theatre:
            open_connection = opener(theatre, authority)
            one = await pool.acquire("one", open_connection)
            waiting = asyncio.create_task(pool.acquire("one", open_connection))
            for _ in range(5):
                await asyncio.sleep(0.1)
                pool.release("one", one)
                # Faster than the waiter, whose turn it would be.
                assert await pool.acquire("one", open_connection) is one
            assert waiting.done()
            with pytest.raises(SmtpFailure) as caught:
                await waiting
            assert caught.value.step is Step.POOL
            pool.release("one", one)
            await pool.close()

    run(dialogue())


def test_a_turn_that_comes_too_late_goes_to_the_next(authority: Authority) -> None:
    async def dialogue() -> None:
        pool = ConnectionPool(per_key=1, wait=1)
        async with playing(willing) as theatre:
            open_connection = opener(theatre, authority)
            one = await pool.acquire("one", open_connection)
            late = asyncio.create_task(pool.acquire("one", open_connection))
            await asyncio.sleep(0.5)
            next_one = asyncio.create_task(pool.acquire("one", open_connection))
            await asyncio.sleep(0)
            # Both become due while the loop is busy: the place, and at once the end of waiting.
            asyncio.get_running_loop().call_later(0.4, pool.release, "one", one)
            time.sleep(0.7)  # noqa: ASYNC251
            assert await next_one is one
            with pytest.raises(SmtpFailure):
                await late
            one.abort()
            pool.release("one", one)
            await pool.close()

    asyncio.run(dialogue())  # uvloop lets the first one go on between two timers

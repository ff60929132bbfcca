"""PostgreSQL on the event loop: values of the right type, and nobody gets another's answer."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psycopg
import pytest

from delivery.link import AwayError, Link

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = "SELECT $1::integer"
PID = "SELECT pg_backend_pid()"


def dialogue(work: Callable[[Link], Awaitable[None]], **options: float | str) -> None:
    async def main() -> None:
        link = Link(**options)  # type: ignore[arg-type]
        try:
            await work(link)
        finally:
            await link.close()

    asyncio.run(main())


async def pid_again(link: Link) -> int:
    """Of the connection that takes the place of one whose end may still be on its way."""
    try:
        [(pid,)] = await link.fetch(PID)
    except AwayError:
        [(pid,)] = await link.fetch(PID)
    return pid


def test_values_go_and_come_back_with_their_types():
    account, at = uuid.uuid4(), datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    query = (
        "SELECT $1::uuid, $2::uuid[], $3::integer[], $4::timestamptz, $5::text, $6::json, $7::int"
    )

    async def work(link: Link) -> None:
        for _again in range(2):
            [row] = await link.fetch(
                query, (account, [account], [1, 2], at, "kérem, '\"{}%s", '{"a": [1]}', None)
            )
            assert row == (account, [account], [1, 2], at, "kérem, '\"{}%s", {"a": [1]}, None)
        # The type is PostgreSQL's to say: a number may be small at first and large later.
        assert await link.fetch("SELECT $1::bigint", (1,)) == [(1,)]
        assert await link.fetch("SELECT $1::bigint", (2**40,)) == [(2**40,)]
        assert await link.fetch("CREATE TEMPORARY TABLE nothing ()") == []

    dialogue(work)


def test_questions_at_once_get_their_own_answers():
    async def work(link: Link) -> None:
        numbers = range(200)
        asked = (link.fetch(NUMBER, (number,)) for number in numbers)
        assert await asyncio.gather(*asked) == [[(number,)] for number in numbers]

    dialogue(work)


def test_more_than_a_socket_takes_at_once_goes_through():
    text = "x" * 20_000_000

    async def work(link: Link) -> None:
        assert await link.fetch("SELECT length($1::text)", (text,)) == [(len(text),)]
        assert await link.fetch("SELECT repeat('x', $1::integer)", (len(text),)) == [(text,)]

    dialogue(work, seconds=30.0)


def test_a_statement_that_hangs_is_given_up_in_time():
    async def work(link: Link) -> None:
        with pytest.raises(AwayError):
            await link.fetch("SELECT pg_sleep(30)")
        assert await link.fetch(NUMBER, (1,)) == [(1,)]

    dialogue(work, seconds=0.2)


def test_a_refused_statement_costs_no_connection():
    async def work(link: Link) -> None:
        [(pid,)] = await link.fetch(PID)
        for query in ("SELECT nothing", "SELECT 1 / 0", "SELECT nothing"):
            with pytest.raises(psycopg.Error):
                await link.fetch(query)
        assert await link.fetch(PID) == [(pid,)]

    dialogue(work)


def test_the_answer_to_who_gave_up_meets_nobody_else():
    async def work(link: Link) -> None:
        asked = asyncio.create_task(link.fetch("SELECT 7 FROM pg_sleep(0.3)"))
        await asyncio.sleep(0.1)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        assert await link.fetch(NUMBER, (1,)) == [(1,)]

    dialogue(work)


def test_a_connection_that_ended_meanwhile_is_opened_again():
    async def work(link: Link) -> None:
        other = Link()
        [(pid,)] = await link.fetch(PID)
        for waits in (0, 0.2):
            await other.fetch("SELECT pg_terminate_backend($1)", (pid,))
            await asyncio.sleep(waits)
            again = await pid_again(link)
            assert again != pid
            pid = again
        await other.close()

    dialogue(work)


def test_a_connection_that_ends_in_the_middle_is_known_at_once():
    async def work(link: Link) -> None:
        other = Link()
        for pause in (0.0, 0.05, 0.1):
            [(pid,)] = await link.fetch(PID)
            asked = asyncio.create_task(link.fetch("SELECT pg_sleep(30)"))
            await asyncio.sleep(pause)
            await other.fetch("SELECT pg_terminate_backend($1)", (pid,))
            async with asyncio.timeout(5):
                await asyncio.wait([asked])
            assert isinstance(asked.exception(), AwayError)
            assert await link.fetch(NUMBER, (1,)) == [(1,)]
        await other.close()

    dialogue(work, seconds=20.0)


def test_a_channel_is_heard_between_questions_and_its_end_too():
    async def work(link: Link) -> None:
        heard, other = asyncio.Event(), Link()
        [(pid,)] = await link.fetch(PID)
        for said in ("NOTIFY outgate_test", f"SELECT pg_terminate_backend({pid})"):
            stop = link.call_when_spoken_to(heard.set)
            await other.fetch(said)
            await asyncio.wait_for(heard.wait(), 5)
            stop()
            heard.clear()
        assert await pid_again(link) != pid
        await other.close()

    dialogue(work, channel="outgate_test")


def test_what_is_said_together_with_an_answer_is_heard():
    async def work(link: Link) -> None:
        await link.fetch(PID)
        heard = asyncio.Event()
        link.call_when_spoken_to(heard.set)
        await link.fetch("SELECT pg_notify('outgate_test', '')")
        await asyncio.wait_for(heard.wait(), 5)

    dialogue(work, channel="outgate_test")


def test_whoever_waits_hears_that_the_link_was_closed():
    async def work(link: Link) -> None:
        await link.fetch(PID)
        asked = asyncio.create_task(link.fetch("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.1)
        await link.close()
        with pytest.raises(AwayError):
            await asyncio.wait_for(asked, 5)
        assert await link.fetch(NUMBER, (1,)) == [(1,)]

    dialogue(work, seconds=60.0)


def test_a_migrated_table_costs_one_answer():
    """A prepared statement is refused for ever then, so its connection ends."""

    async def work(link: Link) -> None:
        [(pid,)] = await link.fetch(PID)
        await link.fetch("CREATE TEMPORARY TABLE migrated AS SELECT 1::integer AS number")
        assert await link.fetch("SELECT number FROM migrated") == [(1,)]
        await link.fetch("ALTER TABLE migrated ALTER number TYPE text")
        with pytest.raises(AwayError):
            await link.fetch("SELECT number FROM migrated")
        assert await link.fetch(PID) != [(pid,)]

    dialogue(work)

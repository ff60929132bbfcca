"""The sink of one message when it is stopped midway: what the log may say, and who is let go."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from accounts.models import AppPassword
from delivery.database import Database
from delivery.models import Delivery
from delivery.relay import HandingOver, Relay, Submission
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Route,
    RouteKind,
    decide,
)
from delivery.services import Decided
from smtp.client import Connection, Security, Server
from smtp.header import HeaderBlock
from smtp.pool import ConnectionPool
from smtp.reply import Reply
from smtp.session import Envelope, Session

PRIMARY = "user@yourdomain.com"
ACCOUNT = AccountSnapshot(PRIMARY)
ANSWER = decide(ACCOUNT, PRIMARY, AppliedSettings(False, "", 0, Server("relay", 25, Security.NONE)))


class FakeDatabase:
    """Answers as the services do; `outcomes` is what the log would say."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str]] = []
        self.may_log = asyncio.Event()

    async def __call__(self, function: Callable[..., Any], *_: Any, **columns: Any) -> Any:
        if function.__name__ == "log_handing_over":
            await self.may_log.wait()
            return uuid.uuid4()
        if function.__name__ == "log_outcome":
            self.outcomes.append((columns["state"], columns["reply"]))
            return None
        return Decided(ACCOUNT, ANSWER)


class FakeConnection:
    """A server that takes everything and never answers the dot; `fault` is raised instead."""

    tls_version = None
    reusable = False

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.dots = 0
        self.closed = False

    async def write(self, _: bytes) -> None:
        if self.fault:
            raise self.fault

    async def finish(self) -> Reply:
        self.dots += 1
        return await asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        self.closed = True

    close = abort


class Stage:
    """One message on its way over a pool with a single place."""

    def __init__(self, connection: FakeConnection) -> None:
        assert isinstance(ANSWER, Route)
        self.connection = connection
        self.database = FakeDatabase()
        self.pool = ConnectionPool(per_key=1, wait=0.1)
        self.relay = Relay({RouteKind.DEFAULT: self.pool}, cast("Database", self.database))
        self.key = (RouteKind.DEFAULT, ANSWER.server, None)

    async def open(self) -> Connection:
        return cast("Connection", self.connection)

    async def sink(self) -> HandingOver:
        assert isinstance(ANSWER, Route)
        header = HeaderBlock.parse(f"From: {PRIMARY}\r\n".encode())
        submission = Submission(
            Session("192.0.2.1"), AppPassword(), Envelope(PRIMARY), header, PRIMARY
        )
        connection = await self.pool.acquire(self.key, self.open)
        message = submission.describe(ACCOUNT)
        return HandingOver(self.relay, submission, message, ANSWER, connection, PRIMARY)

    async def ended(self) -> list[tuple[str, str]]:
        """What the log says, once the place in the pool is free again."""
        await self.pool.acquire(self.key, self.open)
        self.database.may_log.set()
        await self.relay.settle()
        return self.database.outcomes


async def stopped(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(work)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_stopped_behind_the_dot_the_log_does_not_say_that_nothing_was_sent():
    async def dialogue() -> None:
        stage = Stage(FakeConnection())
        stage.database.may_log.set()
        sink = await stage.sink()
        await stopped(sink.finish())
        await sink.abort()
        [(state, reply)] = await stage.ended()
        assert stage.connection.dots == 1
        assert stage.connection.closed
        assert state == Delivery.State.HANDING_OVER
        assert "may have been sent" in reply

    asyncio.run(dialogue())


def test_stopped_before_the_dot_the_row_still_hears_that_nothing_was_sent():
    async def dialogue() -> None:
        stage = Stage(FakeConnection())
        sink = await stage.sink()
        await stopped(sink.finish())
        await sink.abort()
        [(state, reply)] = await stage.ended()
        assert stage.connection.dots == 0
        assert state == Delivery.State.REFUSED
        assert "Nothing was sent" in reply

    asyncio.run(dialogue())


def test_a_fault_at_the_header_gives_the_connection_back():
    async def dialogue() -> None:
        stage = Stage(FakeConnection(RuntimeError("a fault")))
        with pytest.raises(RuntimeError):
            await (await stage.sink()).announce()
        [(state, _reply)] = await stage.ended()
        assert stage.connection.closed
        assert state == Delivery.State.REFUSED

    asyncio.run(dialogue())

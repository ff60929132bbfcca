"""The sink of one message when it is stopped midway: what the log may say, and who is let go."""

import asyncio
import uuid
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from accounts.models import AppPassword
from delivery.cache import AccountCache
from delivery.database import Database
from delivery.handing_over import HandingOver, Way
from delivery.limits import RecipientLimits, Taken
from delivery.log import DeliveryLog, Message, Record
from delivery.models import Delivery
from delivery.relay import Relay
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Route,
    RouteKind,
    decide,
)
from delivery.sign_in import GatewaySignIns
from delivery.steps import Steps
from delivery.submitted import Submission
from delivery.trace import Trace
from delivery.upstreams import pool_key
from smtp.client import Connection
from smtp.header import HeaderBlock
from smtp.pool import ConnectionPool
from smtp.reply import Reply
from smtp.session import Envelope, Session
from smtp.target import Security, Server

PRIMARY = "user@yourdomain.com"
ACCOUNT = AccountSnapshot(PRIMARY)
ANSWER = decide(ACCOUNT, PRIMARY, AppliedSettings(False, "", 0, Server("relay", 25, Security.NONE)))


class FakeLog:
    """`outcomes` is what the log would say; rows are committed once `commit` is called."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str]] = []
        self._committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def commit(self) -> None:
        if not self._committed.done():
            self._committed.set_result(True)

    def hand_over(self, *_: object, **__: object) -> Record:
        return Record("", {}, self._committed)

    def finish(self, _record: Record, *, state: str, reply: Reply, **_: object) -> None:
        self.outcomes.append((state, str(reply)))


class FakeAccounts:
    """Nothing has changed."""

    def holds(self, _generation: int) -> bool:
        return True


class FakeLimits:
    def __init__(self) -> None:
        self.given_back = 0

    def give_back(self, _taken: Taken) -> None:
        self.given_back += 1


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
        self.log = FakeLog()
        self.limits = FakeLimits()
        self.pool = ConnectionPool(per_key=1, wait=0.1)
        self.relay = Relay(
            {RouteKind.DEFAULT: self.pool},
            cast("Database", None),
            cast("AccountCache", FakeAccounts()),
            cast("GatewaySignIns", None),
            cast("DeliveryLog", self.log),
            cast("RecipientLimits", self.limits),
        )
        self.key = pool_key(cast("Route", ANSWER))

    async def open(self) -> Connection:
        return cast("Connection", self.connection)

    async def sink(self) -> HandingOver:
        assert isinstance(ANSWER, Route)
        header = HeaderBlock.parse(f"From: {PRIMARY}\r\n".encode())
        session = Session("192.0.2.1")
        trace = Trace(session, uuid4())
        submission = Submission(session, AppPassword(), Envelope(PRIMARY), header, PRIMARY, trace)
        connection = await self.pool.acquire(self.key, self.open)
        message: Message = submission.describe(PRIMARY)
        way = Way(ANSWER, 1, PRIMARY)
        taken = Taken(uuid.uuid4(), 1, datetime.now(UTC))
        return HandingOver(self.relay, submission, message, way, connection, Steps(), taken)

    async def ended(self) -> list[tuple[str, str]]:
        """What the log says, once the place in the pool is free again."""
        await self.pool.acquire(self.key, self.open)
        return self.log.outcomes


async def stopped(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(work)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_stopped_behind_the_dot_the_log_does_not_say_that_nothing_was_sent():
    async def dialogue() -> None:
        stage = Stage(FakeConnection())
        stage.log.commit()
        sink = await stage.sink()
        await stopped(sink.finish())
        await sink.abort()
        [(state, reply)] = await stage.ended()
        assert stage.connection.dots == 1
        assert stage.connection.closed
        assert state == Delivery.State.HANDING_OVER
        assert "may have been sent" in reply
        assert stage.limits.given_back == 0

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
        assert stage.limits.given_back == 1

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

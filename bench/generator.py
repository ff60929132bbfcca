"""Hands in messages as fast as the server takes them, as a process.

First line of input: a Load. It signs in all sessions and sends one message on each, so that
everything behind is warm, and says {"warm": messages}. After the next line it measures and says a
Result; the sessions stay open until one more line comes.
"""

import asyncio
import json
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

import uvloop

from bench.people import RECIPIENT, SignIn

END_SECONDS = 60.0  # after the last message has begun
LINE = b"bench" * 15 + b"\r\n"  # 77 octets, as base64 makes them
HEADER = (
    f"To: {RECIPIENT}\r\nSubject: bench\r\nDate: Mon, 24 Nov 2025 10:00:00 +0000\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
)
RCPT_DATA = f"RCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()


@dataclass(frozen=True)
class Load:
    """`size` in octets. `at_once` sessions have a message under way, the others wait their turn.

    `fresh`: each message has a connection of its own. It ends after `count` messages or `seconds`,
    whichever comes first.
    """

    port: int
    implicit_tls: bool
    ca_file: str
    people: list[dict[str, str]]
    sessions: int
    at_once: int
    size: int
    count: int
    seconds: float
    fresh: bool


@dataclass(frozen=True)
class Result:
    """`first_at`, `last_at`: time.monotonic. `p50`, `p99`: seconds from MAIL to the last reply."""

    sent: int
    first_at: float
    last_at: float
    p50: float
    p99: float


class RefusedError(Exception):
    """The server answered something else than what the next step needs."""


class Session(asyncio.Protocol):
    """One connection; `wait` gives the replies to what was just written."""

    def __init__(self) -> None:
        self._received = b""
        self._wanted = 0
        self._replies: asyncio.Future[list[bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._check()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._replies and not self._replies.done():
            self._replies.set_exception(RefusedError(f"connection lost after {self._received!r}"))

    def _check(self) -> None:
        """A reply is whole with its line that has no hyphen behind the code (RFC 5321 4.2)."""
        if not self._received.endswith(b"\r\n") or self._replies is None:
            return
        replies = [line for line in self._received.splitlines() if line[3:4] != b"-"]
        if len(replies) >= self._wanted and not self._replies.done():
            self._received = b""
            self._replies.set_result(replies)

    async def wait(self, *codes: bytes) -> None:
        """Wait for replies with exactly these codes."""
        self._wanted = len(codes)
        self._replies = asyncio.get_running_loop().create_future()
        self._check()
        replies = await self._replies
        self._replies = None
        if [reply[:3] for reply in replies] != list(codes):
            raise RefusedError(b" / ".join(replies).decode())

    async def command(self, line: bytes, code: bytes) -> None:
        self._transport.write(line + b"\r\n")
        await self.wait(code)

    async def sign_in(self, load: Load, person: SignIn, tls: ssl.SSLContext) -> None:
        await self.wait(b"220")
        await self.command(b"EHLO bench.example", b"250")
        if not load.implicit_tls:
            await self.command(b"STARTTLS", b"220")
            self._transport = await asyncio.get_running_loop().start_tls(
                self._transport, self, tls, server_hostname="localhost"
            )
            await self.command(b"EHLO bench.example", b"250")
        plain = b64encode(f"\0{person.username}\0{person.password}".encode())
        await self.command(b"AUTH PLAIN " + plain, b"235")

    async def send(self, envelope: bytes, content: bytes) -> None:
        """One message in two round trips, as PIPELINING allows (RFC 2920)."""
        self._transport.write(envelope)
        await self.wait(b"250", b"250", b"354")
        self._transport.write(content)
        await self.wait(b"250")

    async def quit(self) -> None:
        await self.command(b"QUIT", b"221")
        self._transport.close()


class Generator:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._people = [SignIn(**person) for person in load.people]
        self._tls = ssl.create_default_context(cafile=load.ca_file)
        self._body = LINE * (max(load.size - 250, 0) // len(LINE) + 1)
        self._numbers: Iterator[int] = iter(range(load.count))
        self._times: list[float] = []

    def _person(self, index: int) -> SignIn:
        return self._people[index % len(self._people)]

    @asynccontextmanager
    async def session(self, index: int) -> AsyncIterator[Session]:
        load = self._load
        _transport, session = await asyncio.get_running_loop().create_connection(
            Session,
            "127.0.0.1",
            load.port,
            ssl=self._tls if load.implicit_tls else None,
            server_hostname="localhost" if load.implicit_tls else None,
            # As many clients as sessions: both servers limit the connections of one address.
            local_addr=(f"127.0.1.{1 + index % 250}", 0),
        )
        await session.sign_in(load, self._person(index), self._tls)
        yield session
        await session.quit()

    async def send(self, session: Session, index: int, number: int) -> None:
        sender = self._person(index).sender
        message_id = f"Message-ID: <{number}.{index}@bench.example>\r\n"
        content = f"From: {sender}\r\n{message_id}{HEADER}\r\n".encode() + self._body
        mail = f"MAIL FROM:<{sender}> SIZE={len(content)}\r\n"
        await session.send(mail.encode() + RCPT_DATA, content + b".\r\n")

    async def _worker(self, sessions: list[tuple[int, Session]], deadline: float) -> None:
        """Send on these sessions in turn, one message after the other."""
        for (index, session), number in zip(cycle(sessions), self._numbers, strict=False):
            started = time.monotonic()
            await self.send(session, index, number)
            self._times.append(time.monotonic() - started)
            if time.monotonic() > deadline:
                return

    async def _fresh_worker(self, worker: int, deadline: float) -> None:
        """A new connection, and the next person, for each message."""
        for number in self._numbers:
            started = time.monotonic()
            index = worker + number * self._load.at_once
            async with self.session(index) as session:
                await self.send(session, index, number)
            self._times.append(time.monotonic() - started)
            if time.monotonic() > deadline:
                return

    async def run(self) -> None:
        """Warm up, wait; measure, wait; end. A load of fresh connections has nothing to warm."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(END_SECONDS):
                sessions = [] if self._load.fresh else await self._warm(stack)
            await say_and_wait({"warm": len(sessions)})
            started = time.monotonic()
            async with asyncio.timeout(self._load.seconds + END_SECONDS):
                await self._measure(sessions, started + self._load.seconds)
            await say_and_wait(asdict(self._result(started)))

    async def _warm(self, stack: AsyncExitStack) -> list[Session]:
        """Sign in, a few at once, and send one message on each session."""
        indexes = iter(range(self._load.sessions))
        sessions: dict[int, Session] = {}

        async def sign_in() -> None:
            for index in indexes:
                sessions[index] = await stack.enter_async_context(self.session(index))
                await self.send(sessions[index], index, -1)

        async with asyncio.TaskGroup() as workers:
            for _worker in range(self._load.at_once):
                workers.create_task(sign_in())
        return [sessions[index] for index in sorted(sessions)]

    async def _measure(self, sessions: list[Session], deadline: float) -> None:
        at_once = self._load.at_once
        async with asyncio.TaskGroup() as workers:
            for worker in range(at_once):
                if self._load.fresh:
                    workers.create_task(self._fresh_worker(worker, deadline))
                else:
                    mine = list(enumerate(sessions))[worker::at_once]
                    workers.create_task(self._worker(mine, deadline))

    def _result(self, started: float) -> Result:
        ordered = sorted(self._times)
        p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
        return Result(len(ordered), started, time.monotonic(), p50, p99)


async def say_and_wait(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def main() -> None:
    load = Load(**json.loads(sys.stdin.readline()))
    try:
        uvloop.run(Generator(load).run())
    except* (RefusedError, OSError, TimeoutError) as group:
        print(json.dumps({"error": str(group.exceptions[0])}), flush=True)


if __name__ == "__main__":
    main()

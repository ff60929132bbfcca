"""The other ends: a handler behind our server, a scripted server before our client."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from smtp.header import HeaderBlock
from smtp.reply import Reply
from smtp.server import Envelope, Limits, MessageSink, Session, SmtpServer
from tests.smtp.certificates import Authority

PASSWORD = "corr3ct-horse"
ACCEPTED = Reply(250, "2.0.0", "Taken")
HEADER = b"From: user@example.com\r\nSubject: x\r\n\r\n"


@dataclass
class Message:
    """One message as the handler got it."""

    envelope: Envelope
    header: HeaderBlock
    chunks: list[bytes] = field(default_factory=list)
    finished: bool = False
    aborted: bool = False
    gate: asyncio.Event | None = None
    verdict: Reply | None = None
    ending: Reply | Exception = ACCEPTED

    async def write(self, chunk: bytes) -> Reply | None:
        self.chunks.append(chunk)
        if self.gate:
            await self.gate.wait()
        return self.verdict

    async def finish(self) -> Reply:
        if isinstance(self.ending, Exception):
            raise self.ending
        self.finished = True
        return self.ending

    async def abort(self) -> None:
        self.aborted = True

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


@dataclass
class Recorder:
    """A handler that knows one password, and keeps every message."""

    messages: list[Message] = field(default_factory=list)
    sign_ins: list[tuple[str, str]] = field(default_factory=list)
    refusal: Reply | Exception | None = None
    verdict: Reply | None = None
    ending: Reply | Exception = ACCEPTED
    gate: asyncio.Event | None = None

    async def authenticate(self, session: Session, username: str, password: str) -> object | Reply:
        self.sign_ins.append((username, password))
        return username if password == PASSWORD else Reply(535, "5.7.8", "Wrong")

    async def begin(
        self, session: Session, envelope: Envelope, header: HeaderBlock
    ) -> MessageSink | Reply:
        if isinstance(self.refusal, Exception):
            raise self.refusal
        if self.refusal:
            return self.refusal
        message = Message(
            envelope, header, gate=self.gate, verdict=self.verdict, ending=self.ending
        )
        self.messages.append(message)
        return message


QUICK = {"auth_failure_delay": 0.0, "greeting_delay": 0.0, "linger": 0.05}


@contextlib.asynccontextmanager
async def serving(
    handler: Recorder, tls: ssl.SSLContext, *, implicit_tls: bool = False, **limits: float
) -> AsyncIterator[tuple[SmtpServer, int]]:
    """Our server on a free port, with short times."""
    server = SmtpServer(
        handler,
        hostname="mail.example.com",
        tls=tls,
        limits=Limits(**{**QUICK, **limits}),  # type: ignore[arg-type]
    )
    listener = await server.listen("127.0.0.1", 0, implicit_tls=implicit_tls)
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        await server.drain(timeout=2)


class Dialogue:
    """A client that says and hears exactly what the test writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> str:
        """The next whole reply, its lines joined by "|"; "" at the end of the connection."""
        lines = []
        while raw := await self.reader.readline():
            line = raw.decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                break
        return "|".join(lines)

    async def say(self, text: bytes | str) -> str:
        """Send one line, hear one reply."""
        raw = text.encode() if isinstance(text, str) else text
        self.send(raw + b"\r\n")
        return await self.hear()

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def is_closed(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context, server_hostname="localhost")

    async def sign_in(self) -> str:
        await self.say("EHLO client.example")
        return await self.say(b"AUTH PLAIN " + _plain("user", PASSWORD))


def _plain(username: str, password: str) -> bytes:
    return base64.b64encode(f"\0{username}\0{password}".encode())


@contextlib.asynccontextmanager
async def dialling(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Dialogue]:
    """A connection to our server; with `tls`, implicit TLS."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        yield Dialogue(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def signed_in(port: int, tls: ssl.SSLContext) -> AsyncIterator[Dialogue]:
    async with dialling(port, tls) as client:
        await client.hear()
        assert (await client.sign_in()).startswith("235")
        yield client


@contextlib.asynccontextmanager
async def serving_one(
    handler: Recorder, authority: Authority, **limits: float
) -> AsyncIterator[Dialogue]:
    """Our server, and a client that is signed in to it over implicit TLS."""
    async with (
        serving(handler, authority.server_context(), implicit_tls=True, **limits) as (_, port),
        signed_in(port, authority.client_context()) as client,
    ):
        yield client


async def open_message(client: Dialogue) -> None:
    await client.say("MAIL FROM:<user@example.com>")
    await client.say("RCPT TO:<a@example.net>")
    assert (await client.say("DATA")).startswith("354")


class Stage:
    """A server that plays what the test writes, and keeps every byte it got."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.heard: list[bytes] = []

    async def line(self) -> bytes:
        raw = await self.reader.readline()
        self.heard.append(raw)
        return raw

    def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())

    async def hello(self, *extensions: str) -> None:
        """Greet, and answer EHLO with these extensions."""
        self.say("220 partner.example ESMTP")
        await self.answer_hello(*extensions)

    async def answer_hello(self, *extensions: str) -> None:
        await self.line()
        names = ["partner.example", *extensions]
        marks = ["-"] * (len(names) - 1) + [" "]
        self.say(*(f"250{mark}{name}" for mark, name in zip(marks, names, strict=True)))

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context)

    async def content(self) -> bytes:
        """Everything up to the final dot."""
        raw = await self.reader.readuntil(b"\r\n.\r\n")
        self.heard.append(raw)
        return raw

    async def rest(self) -> None:
        self.heard.append(await self.reader.read())


Play = Callable[[Stage], Awaitable[None]]


@dataclass
class Theatre:
    """Where scripted servers play; each connection is one performance."""

    port: int
    stages: list[Stage] = field(default_factory=list)

    @property
    def heard(self) -> bytes:
        return b"".join(raw for stage in self.stages for raw in stage.heard)


@contextlib.asynccontextmanager
async def playing(*plays: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[Theatre]:
    """A server that plays one of `plays` for each client, the last one for all that follow."""
    theatre = Theatre(0)
    tasks = []

    async def perform(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.append(task)
        stage = Stage(reader, writer)
        theatre.stages.append(stage)
        try:
            await plays[min(len(theatre.stages), len(plays)) - 1](stage)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client under test has gone away
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(perform, "127.0.0.1", 0, ssl=tls, limit=2**20)
    theatre.port = server.sockets[0].getsockname()[1]
    try:
        yield theatre
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

"""The mail server at the far end, as a process: takes all, keeps nothing, counts.

STARTTLS, AUTH PLAIN, PIPELINING, CHUNKING. Who is not signed in as the envelope sender is refused,
so that every message counted came by its own credential. On the second port a connection ends after
one message. First line of input: a Plan; each further line is answered with the count so far.
"""

import asyncio
import base64
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import uvloop

END = b"\r\n.\r\n"
OFFERED = b"250-sink\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 100000000\r\n250-8BITMIME\r\n"
TAKEN = b"250 2.0.0 taken\r\n"


@dataclass(frozen=True)
class Plan:
    """`passwords` by user name; `ports`: the kept one, then the one for single messages."""

    ports: list[int]
    certificate: str
    key: str
    passwords: dict[str, str]


@dataclass
class Count:
    """`last_at` is when the last message was complete (time.monotonic, one clock for all)."""

    messages: int = 0
    connections: int = 0
    refused: int = 0
    last_at: float = 0.0


@dataclass
class Service:
    passwords: dict[str, str]
    tls: ssl.SSLContext
    count: Count = field(default_factory=Count)
    handshakes: set[asyncio.Task[None]] = field(default_factory=set)


class Upstream(asyncio.Protocol):
    """One connection: commands, or the content of a message."""

    def __init__(self, service: Service, *, single: bool) -> None:
        self._service = service
        self._single = single
        self._secure = False
        self._user = ""
        self._lines = b""
        self._in_content = False
        self._tail = b""
        self._chunk_left = 0  # octets of the last chunk that are still to come

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._service.count.connections += 1
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        answers = b""
        while data:
            if self._chunk_left:
                answer, data = self._take_chunk(data)
            elif self._in_content:
                answer, data = self._take_content(data)
            else:
                answer, data = self._take_command(data)
            answers += answer
        if answers:
            self._transport.write(answers)
        if self._single and answers.endswith(TAKEN):
            self._transport.close()

    def _take_content(self, data: bytes) -> tuple[bytes, bytes]:
        """Look for the final dot, also where it lies across two reads."""
        content = self._tail + data
        end = content.find(END)
        if end < 0:
            self._tail = content[-len(END) + 1 :]
            return b"", b""
        self._in_content = False
        return self._taken(), content[end + len(END) :]

    def _take_chunk(self, data: bytes) -> tuple[bytes, bytes]:
        chunk, rest = data[: self._chunk_left], data[self._chunk_left :]
        self._chunk_left -= len(chunk)
        return b"" if self._chunk_left else self._taken(), rest

    def _taken(self) -> bytes:
        self._service.count.messages += 1
        self._service.count.last_at = time.monotonic()
        return TAKEN

    def _take_command(self, data: bytes) -> tuple[bytes, bytes]:
        line, newline, rest = (self._lines + data).partition(b"\r\n")
        self._lines = b"" if newline else line
        return (self._answer(line), rest) if newline else (b"", b"")

    def _answer(self, line: bytes) -> bytes:
        verb, _space, argument = line.partition(b" ")
        verb = verb.upper()
        if verb == b"DATA":
            self._in_content, self._tail = True, b"\r\n"
            return b"354 go on\r\n"
        if verb == b"BDAT":  # a message is one chunk, for nobody here sends more
            self._chunk_left = int(argument.removesuffix(b" LAST"))
            return b""
        if verb == b"MAIL":
            return self._mail(argument)
        if verb == b"EHLO":
            return OFFERED + (b"250 AUTH PLAIN\r\n" if self._secure else b"250 STARTTLS\r\n")
        if verb == b"STARTTLS":
            self._start_tls()
            return b""
        if verb == b"AUTH":
            return self._auth(argument)
        if verb == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
            return b""
        return b"250 2.0.0 ok\r\n"

    def _mail(self, argument: bytes) -> bytes:
        address = argument.partition(b"<")[2].partition(b">")[0].decode()
        if address and address == self._user:
            return b"250 2.1.0 ok\r\n"
        self._service.count.refused += 1
        return b"550 5.7.1 not your address\r\n"

    def _auth(self, argument: bytes) -> bytes:
        _plain, _space, initial = argument.partition(b" ")
        _identity, user, password = base64.b64decode(initial).decode().split("\0")
        if self._service.passwords.get(user) != password:
            self._service.count.refused += 1
            return b"535 5.7.8 no\r\n"
        self._user = user
        return b"235 2.7.0 ok\r\n"

    def _start_tls(self) -> None:
        self._transport.write(b"220 2.0.0 go on\r\n")
        task = asyncio.create_task(self._shake_hands())
        self._service.handshakes.add(task)
        task.add_done_callback(self._service.handshakes.discard)

    async def _shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._transport = await loop.start_tls(
                self._transport, self, self._service.tls, server_side=True
            )
        except (OSError, ssl.SSLError):
            self._transport.close()
        self._secure = True


async def serve(plan: Plan) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(plan.certificate, plan.key)
    service = Service(plan.passwords, tls)
    loop = asyncio.get_running_loop()
    for port, single in zip(plan.ports, (False, True), strict=True):
        await loop.create_server(
            partial(Upstream, service, single=single),
            "localhost",
            port,
            backlog=1024,
        )
    say({"ready": True})
    while await loop.run_in_executor(None, sys.stdin.readline):
        say(asdict(service.count))


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Plan(**json.loads(sys.stdin.readline()))))

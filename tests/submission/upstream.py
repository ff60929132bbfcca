"""A mail server that answers as a test tells it to, and counts what it gets."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ANSWERS = {
    "greeting": b"220 upstream.example\r\n",
    "EHLO": b"250-upstream.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
    "AUTH": b"235 2.7.0 Welcome\r\n",
    "MAIL": b"250 2.1.0 OK\r\n",
    "RCPT": b"250 2.1.5 OK\r\n",
    "DATA": b"354 Go on\r\n",
    "BDAT": b"250 2.0.0 Taken as 4Xk3\r\n",
    "RSET": b"250 2.0.0 OK\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
    ".": b"250 2.0.0 Taken as 4Xk2\r\n",
}


NOT_NOW = b"503 5.5.1 Nobody takes that\r\n"
# With this in place of the answer to EHLO, a message may come as one chunk.
CHUNKING = ANSWERS["EHLO"].replace(b"8BITMIME", b"CHUNKING")

# What is said instead of an answer; the connection is closed afterwards.
Fault = Callable[[ssl.SSLSocket], None]


@dataclass
class Upstream:
    """Listens on `port` of `host` with TLS from the start, a thread for each connection.

    `answers` override the usual ones by verb (or by the whole line); an empty answer closes the
    connection instead. At `hold` it says nothing until `release`: a verb, "greeting",
    "content" or ".".
    `content` is how many octets of content have come so far, `taken` how many messages got their
    answer; each Message-ID is kept as often as it had its final dot. `chunks`: the messages that
    came in one.
    """

    port: int
    certificates: tuple[Path, Path]
    answers: dict[str, bytes | Fault] = field(default_factory=dict)
    hold: str = ""
    host: str = "127.0.0.1"
    content: int = 0
    commands: list[str] = field(default_factory=list)
    dots: int = 0
    taken: int = 0
    message_ids: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    def __enter__(self) -> "Upstream":
        self.holding = threading.Event()
        self._released = threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*self.certificates)
        self._listener = socket.create_server((self.host, self.port), backlog=256)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already
        for thread in self._threads:
            thread.join(10)

    def release(self) -> None:
        """Say what was held back, and hold nothing from now on."""
        self.hold = ""
        self._released.set()

    def _listen(self) -> None:
        while True:
            try:
                plain, _peer = self._listener.accept()
            except OSError:
                return
            self._open.append(plain)
            self._threads.append(threading.Thread(target=self._serve, args=[plain]))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(plain, server_side=True) as connection:
                self._open.append(connection)
                self._talk(connection)
        except OSError:
            return  # the client broke off: some tests are about that

    def _talk(self, connection: ssl.SSLSocket) -> None:
        if not self._say(connection, "greeting"):
            return
        lines = connection.makefile("rb")
        may_send = False  # somebody takes a message from here on
        for line in lines:
            command = line.decode().strip()
            self.commands.append(command if not command.startswith("AUTH") else "AUTH")
            if command.startswith("BDAT"):
                chunk = lines.read(int(command.split()[1]))
                if not may_send:
                    connection.sendall(NOT_NOW)
                    continue
                self._take_chunk(chunk)
            said = self._say(connection, command)
            if command.startswith(("MAIL", "RCPT")):
                may_send = said.startswith(b"250") and (may_send or command.startswith("MAIL"))
            if command.startswith("BDAT"):
                self.taken += bool(said)
            if said.startswith(b"354"):
                self._wait_at("content")
                if not self._take_content(lines):
                    return
                said = self._say(connection, ".")
                self.taken += bool(said)
            if not said or command == "QUIT":
                return

    def _say(self, connection: ssl.SSLSocket, command: str) -> bytes:
        """What was answered; nothing if the connection is to be closed."""
        verb = command.split(" ", 1)[0].upper() if command != "greeting" else command
        self._wait_at(verb)
        default = ANSWERS.get(verb, b"500 5.5.1 What?\r\n")
        answer = self.answers.get(command, self.answers.get(verb, default))
        if callable(answer):
            answer(connection)
            return b""
        if answer:
            connection.sendall(answer)
        return answer

    def _wait_at(self, step: str) -> None:
        if self.hold == step:
            self.holding.set()
            self._released.wait()

    def _take_chunk(self, chunk: bytes) -> None:
        """A whole message; it counts as one that had its dot."""
        self.chunks.append(chunk)
        header = chunk.partition(b"\r\n\r\n")[0].split(b"\r\n")
        self.message_ids += [line for line in header if line.startswith(b"Message-ID:")]
        self.dots += 1

    def _take_content(self, lines) -> bool:
        message_id = b""
        for line in lines:
            if line == b".\r\n":
                self.message_ids.append(message_id)
                self.dots += 1
                return True
            if line.startswith(b"Message-ID:"):
                message_id = line.strip()
            self.content += len(line)
        return False


def reset(connection: ssl.SSLSocket) -> None:
    """Let the close that follows be an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

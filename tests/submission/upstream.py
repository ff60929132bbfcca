"""A mail server that answers as a test tells it to, and counts what it gets."""

import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

ANSWERS = {
    "EHLO": b"250-upstream.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
    "AUTH": b"235 2.7.0 Welcome\r\n",
    "MAIL": b"250 2.1.0 OK\r\n",
    "RCPT": b"250 2.1.5 OK\r\n",
    "DATA": b"354 Go on\r\n",
    "RSET": b"250 2.0.0 OK\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
    ".": b"250 2.0.0 Taken as 4Xk2\r\n",
}


@dataclass
class Upstream:
    """Listens on `port` with TLS from the start, one connection after the other.

    `answers` override the usual ones by verb (or by the whole line); an empty answer closes the
    connection instead. `content` is how many octets of content have come so far.
    """

    port: int
    certificates: tuple[Path, Path]
    answers: dict[str, bytes] = field(default_factory=dict)
    content: int = 0
    commands: list[str] = field(default_factory=list)
    dots: int = 0

    def __enter__(self) -> "Upstream":
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*self.certificates)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                plain, _peer = self._listener.accept()
            except OSError:
                return
            self._open.append(plain)
            try:
                with self._tls.wrap_socket(plain, server_side=True) as connection:
                    self._open.append(connection)
                    self._talk(connection)
            except OSError:
                continue  # the client broke off: some tests are about that

    def _talk(self, connection: socket.socket) -> None:
        connection.sendall(self.answers.get("greeting", b"220 upstream.example\r\n"))
        lines = connection.makefile("rb")
        for line in lines:
            command = line.decode().strip()
            self.commands.append(command if not command.startswith("AUTH") else "AUTH")
            answer = self._answer(command)
            if not answer:
                return
            connection.sendall(answer)
            if answer.startswith(b"354"):
                if not self._take_content(lines):
                    return
                self.dots += 1
                answer = self._answer(".")
                if not answer:
                    return
                connection.sendall(answer)
            if command == "QUIT":
                return

    def _answer(self, command: str) -> bytes:
        verb = command.split(" ", 1)[0].upper()
        default = ANSWERS.get(verb, b"500 5.5.1 What?\r\n")
        return self.answers.get(command, self.answers.get(verb, default))

    def _take_content(self, lines) -> bool:
        for line in lines:
            if line == b".\r\n":
                return True
            self.content += len(line)
        return False

"""A mail server that several connections talk to at once, and that tells how far each came."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

ANSWERS = {
    "EHLO": b"250-upstream.example\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n",
    "MAIL": b"250 2.1.0 OK\r\n",
    "RCPT": b"250 2.1.5 OK\r\n",
    "DATA": b"354 Go on\r\n",
    "RSET": b"250 2.0.0 OK\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
    "dot": b"250 2.0.0 Taken as 4Xk2\r\n",
}


class Taken(NamedTuple):
    """One message whose dot has come."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def header(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[0]


@dataclass
class MailServer:
    """`answers` override the usual ones by step, or by recipient.

    An empty one closes the connection. Steps are the verbs, and "greeting", "content" (its first
    line), "dot", "answered". `at` is called at each of them, before the answer.
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    at: Callable[[str], None] = lambda _step: None
    taken: list[Taken] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(10)
        for each in self._open:
            with suppress(OSError):  # closed already
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _peer = self._listener.accept()
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=[connection]))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            self._talk(connection, lines)

    def _talk(self, connection: socket.socket, lines) -> None:
        sender, recipients = "", []
        if not self._answer(connection, "greeting", b"220 upstream.example\r\n"):
            return
        for line in lines:
            command = line.decode().strip()
            verb = command.split(" ", 1)[0].upper()
            path = command.partition("<")[2].partition(">")[0]
            if verb == "MAIL":
                sender, recipients = path, []
            if verb == "RCPT":
                recipients.append(path)
            said = self._answer(
                connection, verb, self.answers.get(path) if verb == "RCPT" else None
            )
            if not said or verb == "QUIT":
                return
            if said.startswith(b"354") and not self._take(connection, lines, sender, recipients):
                return

    def _take(self, connection, lines, sender: str, recipients: list[str]) -> bool:
        content = bytearray()
        for line in lines:
            if not content:
                self._reach("content")
            if line == b".\r\n":
                self.taken.append(Taken(sender, recipients, bytes(content)))
                answered = self._answer(connection, "dot")
                self._reach("answered")
                return bool(answered)
            content += line
        return False

    def _answer(self, connection: socket.socket, step: str, usual: bytes | None = None) -> bytes:
        self._reach(step)
        usual = usual or ANSWERS.get(step, b"500 5.5.1 What?\r\n")
        answer = self.answers.get(step, usual)
        if answer:
            connection.sendall(answer)
        return answer

    def _reach(self, step: str) -> None:
        self.reached[step] += 1
        self.at(step)


@contextmanager
def mail_server(**options: object) -> Iterator[MailServer]:
    server = MailServer(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""Hosts that say nothing, as one whose packets get lost; and PostgreSQL, stopped for a while."""

import contextlib
import os
import signal
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from config.embedded import Engines

PROPOSALS = {80_877_103, 80_877_104}  # TLS, GSSAPI


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", 4 + len(body)) + body


SIGNED_IN = (
    _message(b"R", bytes(4)) + _message(b"S", b"server_version\x0017.0\x00") + _message(b"Z", b"I")
)


@contextlib.contextmanager
def silent_host() -> Iterator[int]:
    """Takes connections, and that is all. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class _SignsIn(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while greeting := self.request.recv(8, socket.MSG_WAITALL):
            length, code = struct.unpack("!II", greeting)
            if code in PROPOSALS:
                self.request.sendall(b"N")
                continue
            self.request.recv(length - len(greeting), socket.MSG_WAITALL)
            self.request.sendall(SIGNED_IN)
            while self.request.recv(4096):
                pass
            return


@contextlib.contextmanager
def silent_pooler() -> Iterator[int]:
    """Signs everybody in as PostgreSQL does, and answers no statement. Its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _SignsIn) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@contextlib.contextmanager
def stopped_postgresql(services: Engines) -> Iterator[None]:
    """New connections are taken by the kernel, and nobody answers them."""
    [number, *_] = Path(services.home, "postgres", "postmaster.pid").read_text().split()
    os.kill(int(number), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(int(number), signal.SIGCONT)

"""A name server on loopback that says of every name what a test wants it to."""

import socket
import struct
import threading
from ipaddress import ip_address

_TYPES = {1: 4, 28: 6}  # A and AAAA, by the version of what they hold
_NAME_OF_THE_QUESTION = b"\xc0\x0c"


class NameServer:
    """Answers on UDP port 53 of 127.0.0.1.

    `script` holds one list of addresses for each question, the last for all that follow; an empty
    list says that there is no such name.
    """

    def __init__(self) -> None:
        self.script: list[list[str]] = [[]]

    def __enter__(self) -> "NameServer":
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(question), client)
            except OSError:
                return

    def _answer(self, question: bytes) -> bytes:
        end = question.index(b"\0", 12) + 5
        (kind,) = struct.unpack("!H", question[end - 4 : end - 2])
        # Only addresses of version 4 count as a question: each look-up asks for both kinds.
        said = self.script[0]
        if kind == 1 and len(self.script) > 1:
            self.script.pop(0)
        packed = [
            ip_address(text).packed for text in said if ip_address(text).version == _TYPES.get(kind)
        ]
        flags = 0x8180 if said else 0x8183  # NXDOMAIN
        head = question[:2] + struct.pack("!5H", flags, 1, len(packed), 0, 0)
        records = [
            _NAME_OF_THE_QUESTION + struct.pack("!HHIH", kind, 1, 0, len(raw)) + raw
            for raw in packed
        ]
        return head + question[12:end] + b"".join(records)

"""A DNS server on loopback that knows what the test writes."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Thread

import dns.message
import dns.rcode
import dns.rrset


@dataclass
class DnsServer:
    """`records` by name and type, as in a zone file; `asked` holds every question.

    A name that has records of another type exists. When `broken`, the server answers that it can't,
    or only for `broken_names`.
    """

    port: int
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    broken: bool = False
    broken_names: set[str] = field(default_factory=set)

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        key = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(key)
        if self.silent:
            return None
        response = dns.message.make_response(query)
        if self.broken or key[0] in self.broken_names:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif key in self.records:
            answer = dns.rrset.from_text(question.name, 60, "IN", key[1], *self.records[key])
            response.answer.append(answer)
        elif key[0] not in {name for name, _kind in self.records}:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    def say(self, name: str, kind: str, *records: str) -> None:
        """Publish the records, without the final dot and quotes of a zone file."""
        texts = [f'"{record}"' for record in records] if kind == "TXT" else list(records)
        self.records[f"{name}.", kind] = texts


@contextlib.contextmanager
def dns_server() -> Iterator[DnsServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        server = DnsServer(listener.getsockname()[1])

        def serve() -> None:
            while True:
                wire, client = listener.recvfrom(4096)
                if not wire:
                    return
                if answer := server.answer(wire):
                    listener.sendto(answer, client)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield server
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", listener.getsockname())
        thread.join(10)

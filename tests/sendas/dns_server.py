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
    """`records` by name and type, as in a zone file; `asked` holds every question."""

    port: int
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        key = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(key)
        if self.silent:
            return None
        response = dns.message.make_response(query)
        if key in self.records:
            answer = dns.rrset.from_text(question.name, 60, "IN", key[1], *self.records[key])
            response.answer.append(answer)
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


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

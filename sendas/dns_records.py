"""What a domain says in DNS about its mail. No answer, of whatever kind, is an empty list."""

import contextlib
from typing import cast

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver
from django.conf import settings
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.SRV import SRV

from smtp.egress import Endpoint

# For all tries of one question: the person waits for the page.
QUESTION_SECONDS = 2.0


def resolver() -> dns.asyncresolver.Resolver | None:
    """The servers of OUTGATE_DNS_SERVERS, else the system's; None where there are none."""
    with contextlib.suppress(dns.resolver.NoResolverConfiguration):
        servers = settings.OUTGATE_DNS_SERVERS
        chosen = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            chosen.nameservers = [
                dns.nameserver.Do53Nameserver(address, port) for address, port in servers
            ]
        chosen.lifetime = QUESTION_SECONDS
        return chosen
    return None


async def services(domain: str, service: str) -> list[Endpoint]:
    """The servers of `_service._tcp` (RFC 2782), best first; none where "." says so (RFC 6186)."""
    records = cast("list[SRV]", await _ask(f"_{service}._tcp.{domain}.", "SRV"))
    records.sort(key=lambda record: (record.priority, -record.weight))
    named = [(record.target.to_text(omit_final_dot=True), record.port) for record in records]
    return [Endpoint(host.lower(), port) for host, port in named if host != "."]


async def mail_hosts(domain: str) -> list[str]:
    """The names behind the domain's MX records, best first."""
    records = cast("list[MX]", await _ask(f"{domain}.", "MX"))
    records.sort(key=lambda record: record.preference)
    return [record.exchange.to_text(omit_final_dot=True).lower() for record in records]


async def _ask(name: str, kind: str) -> list[object]:
    chosen = resolver()
    if chosen is None:
        return []
    try:
        return list(await chosen.resolve(name, kind, raise_on_no_answer=False))
    except dns.exception.DNSException:  # no such name, no server, no sense: all one to us
        return []

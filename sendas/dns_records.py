"""What a domain says in DNS about its mail.

No record is an empty list. No answer (nobody there, refused, no sense) is `Unanswered`: nothing can
be told from it.
"""

from functools import cache
from typing import Any, cast

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver
from django.conf import settings
from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.SRV import SRV

from smtp.egress import Endpoint

# For all tries of one question: the person waits for the page.
QUESTION_SECONDS = 2.0


class Unanswered(Exception):  # noqa: N818 a fact about DNS, not a mistake
    """DNS gave no answer that says whether the record exists."""


@cache
def _resolver(servers: tuple[tuple[str, int], ...]) -> dns.asyncresolver.Resolver:
    """The given servers, else the system's as they were at the first question.

    It holds no connection, so one serves every event loop. Raises NoResolverConfiguration.
    """
    resolver = dns.asyncresolver.Resolver(configure=not servers)
    if servers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(address, port) for address, port in servers
        ]
    resolver.lifetime = QUESTION_SECONDS
    return resolver


async def ask(name: str, kind: str) -> list[Rdata]:
    """The records, where CNAMEs lead included. Raises Unanswered."""
    try:
        absolute = dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError):
        return []  # what can be no name has no records
    try:
        resolver = _resolver(settings.OUTGATE_DNS_SERVERS)
        answer = await resolver.resolve(absolute, kind, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise Unanswered(f"{kind} {name}") from error
    return list(cast("Any", answer.rrset) or ())


async def services(domain: str, service: str) -> list[Endpoint]:
    """The servers of `_service._tcp` (RFC 2782), best first; none where "." says so (RFC 6186)."""
    records = cast("list[SRV]", await ask(f"_{service}._tcp.{domain}", "SRV"))
    records.sort(key=lambda record: (record.priority, -record.weight))
    named = [(record.target.to_text(omit_final_dot=True), record.port) for record in records]
    return [Endpoint(host.lower(), port) for host, port in named if host != "."]


async def mail_hosts(domain: str) -> list[str]:
    """The names behind the domain's MX records, best first."""
    records = cast("list[MX]", await ask(domain, "MX"))
    records.sort(key=lambda record: record.preference)
    return [record.exchange.to_text(omit_final_dot=True).lower() for record in records]


async def texts(name: str) -> list[str]:
    """Each TXT record as one text (RFC 7208 3.3 and RFC 9989 join their strings so)."""
    records = cast("list[TXT]", await ask(name, "TXT"))
    return [b"".join(record.strings).decode("ascii", "replace") for record in records]


async def addresses(host: str) -> list[str]:
    """The host's addresses, IPv4 first."""
    found = [await ask(host, kind) for kind in ("A", "AAAA")]
    return [cast("Any", record).address for records in found for record in records]

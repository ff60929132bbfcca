"""Where a user's server may be: public addresses, and those the operator named.

Names are looked up by the system's resolver (`getaddrinfo`), not by dnspython: the hosts file and
the search order that the operator configured must hold here as for every other program on the
machine. They wait on threads of their own: a name whose servers are silent must not keep the
organisation's own relay from being looked up, nor an event loop from ending.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import idna

from smtp.failure import FailureKind, SmtpFailure, Step

SUBMISSION_PORTS = frozenset({465, 587, 2525})

LOOK_UP_SECONDS = 5.0  # what has not been answered by then does not exist
_LOOK_UPS = ThreadPoolExecutor(32, thread_name_prefix="look-up")

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}\Z")
# A last label that is a number makes resolvers read the whole as an IPv4 address: 127.1, 0x7f.1,
# 2130706433.
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")

# IANA's special-purpose registry. `ipaddress.is_global` is wrong for several (multicast,
# 192.88.99.0/24, NAT64, 6to4).
_CLOSED_V4 = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
]
_OPEN_V6 = ip_network("2000::/3")  # all that IANA has given out as global unicast
_CLOSED_V6 = [
    ip_network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]


class Endpoint(NamedTuple):
    """An address in its literal form, and a port."""

    address: str
    port: int


def system_look_up(name: str) -> list[str]:
    """The name's addresses in the resolver's order. Raises OSError; waits as long as it does."""
    answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


@dataclass(frozen=True)
class EgressGuard:
    """Where a connection may go: all answers public, or inside `allowed_networks`."""

    allowed_networks: Sequence[IPv4Network | IPv6Network] = ()
    ports: Collection[int] = SUBMISSION_PORTS
    look_up: Callable[[str], list[str]] = system_look_up

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        """The literals that may be connected to, in the resolver's order.

        One answer that is refused refuses all: mixed answers are how a name is bent towards us.
        Raises SmtpFailure: PORT_NOT_ALLOWED, or NO_PUBLIC_ADDRESS for whatever else is wrong.
        """
        if port not in self.ports:
            raise SmtpFailure(FailureKind.PORT_NOT_ALLOWED, Step.RESOLVE)
        addresses = await self._addresses(host)
        if not addresses or not all(self._permits(address) for address in addresses):
            raise SmtpFailure(FailureKind.NO_PUBLIC_ADDRESS, Step.RESOLVE)
        return [Endpoint(str(address), port) for address in addresses]

    async def _addresses(self, host: str) -> list[IPv4Address | IPv6Address]:
        name = ascii_host(host)
        if name is None:
            return []
        if (literal := _literal(name)) is not None:
            return [literal]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                answers = await loop.run_in_executor(_LOOK_UPS, self.look_up, name)
        # The name does not exist, the resolver is away or silent: all one to a user.
        except OSError:
            return []
        return list(dict.fromkeys(ip_address(answer) for answer in answers))

    def _permits(self, address: IPv4Address | IPv6Address) -> bool:
        return is_public(address) or any(address in network for network in self.allowed_networks)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one that anybody on the internet could be reached at."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    return (
        address.scope_id is None
        and address in _OPEN_V6
        and not any(address in network for network in _CLOSED_V6)
    )


def ascii_host(host: str) -> str | None:
    """The host as it goes into DNS and TLS: an IP literal, or a name in A-labels; else None.

    Only IDNA 2008's own characters pass; look-alikes that a mapping would turn into ASCII (circled
    letters, full-width dots) do not.
    """
    literal = _literal(host)
    if literal is not None:
        return str(literal)
    name = host.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name).decode("ascii")
        except idna.IDNAError:
            return None
    return name if is_host_name(name) else None


def is_host_name(text: str) -> bool:
    """Whether it is a name in lower-case A-labels that no resolver takes for an address."""
    return bool(_HOST.match(text)) and not _NUMBER.match(text.rpartition(".")[2])


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None

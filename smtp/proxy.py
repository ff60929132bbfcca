"""The PROXY protocol's header, versions 1 and 2, as haproxy's specification has it.

A load balancer writes it in front of each connection, to say which client it stands for.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

_V1 = re.compile(rb"PROXY (TCP[46]) ([0-9.]+|[0-9A-Fa-f:.]+) ([0-9.]+|[0-9A-Fa-f:.]+) (\d+) (\d+)")
_V1_LIMIT = 107  # its longest line, CRLF included
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16
_V2_LIMIT = 4_096  # more than any balancer adds behind the addresses
_LOCAL, _PROXY = 0x20, 0x21
_LENGTHS = {0x11: 4, 0x21: 16}  # TCP over IPv4, over IPv6: octets of one address


class ProxyError(ValueError):
    """What came first is no PROXY header, or stands for no TCP client."""


class Origin(NamedTuple):
    """The client's address, None where the balancer speaks for itself, as in a health check.

    `length` is how many octets the header has.
    """

    address: str | None
    length: int


def parse_proxy_header(data: bytes) -> Origin | None:
    """Who is behind the balancer; None if the header is not complete yet. Raises ProxyError."""
    if data[: len(_V2_SIGNATURE)] == _V2_SIGNATURE[: len(data)]:
        return _parse_v2(data) if len(data) >= _V2_FIXED else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_v1(data)
    raise ProxyError("no PROXY header")


def _parse_v1(data: bytes) -> Origin | None:
    end = data.find(b"\r\n", 0, _V1_LIMIT)
    if end < 0:
        if len(data) >= _V1_LIMIT:
            raise ProxyError("the line is too long")
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return Origin(None, end + 2)
    match = _V1.fullmatch(line)
    if not match or not all(_is_port(port) for port in match.group(4, 5)):
        raise ProxyError("the line is written wrong")
    kind = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = (kind(text.decode("ascii")) for text in match.group(2, 3))
    except ValueError:
        raise ProxyError("an address is written wrong") from None
    return Origin(_text(source), end + 2)


def _is_port(digits: bytes) -> bool:
    return (
        digits == str(int(digits)).encode() and int(digits) < 65_536 if len(digits) < 6 else False
    )


def _parse_v2(data: bytes) -> Origin | None:
    command, family, size = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or size > _V2_LIMIT:
        raise ProxyError("another version, or too long")
    if command == _PROXY and (family not in _LENGTHS or size < 2 * _LENGTHS[family] + 4):
        raise ProxyError("no TCP addresses")
    end = _V2_FIXED + size
    if len(data) < end:
        return None
    if command == _LOCAL:
        return Origin(None, end)
    return Origin(_text(ip_address(data[_V2_FIXED : _V2_FIXED + _LENGTHS[family]])), end)


def _text(address: IPv4Address | IPv6Address) -> str:
    """One spelling for a client, however the balancer saw it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)

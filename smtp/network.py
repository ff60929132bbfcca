"""The network that a client's address stands for, where one address alone says too little."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def address_of(peer: str) -> IPv4Address | IPv6Address | None:
    """A client's address, an IPv4 one even where it came by IPv6; a Unix socket has none."""
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def network_of(peer: str) -> str:
    """The /24 or /64 that a client's address belongs to; what is no address stands for itself."""
    address = address_of(peer)
    if address is None:
        return peer
    return str(ip_network((address, 24 if address.version == 4 else 64), strict=False))

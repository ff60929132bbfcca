"""How many connections each client has."""

from collections import Counter
from ipaddress import IPv6Address, ip_address


class ConnectionCounter:
    """Counts clients over all listeners that share it; an IPv6 client is a /64."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def enter(self, peer: str, limit: int) -> bool:
        """Count one more, unless the client has `limit` already."""
        key = _client_key(peer)
        if self._counts[key] >= limit:
            return False
        self._counts[key] += 1
        return True

    def leave(self, peer: str) -> None:
        key = _client_key(peer)
        self._counts[key] -= 1
        if self._counts[key] <= 0:
            del self._counts[key]


def _client_key(peer: str) -> str:
    try:
        address = ip_address(peer)
    except ValueError:  # a Unix socket has no address
        return peer
    return str(int(address) >> 64) if isinstance(address, IPv6Address) else peer

"""Port numbers that only one run of the tests, or one of its workers, gives to its servers.

A number that the kernel chose and that was closed again may belong to somebody else by the time
a server takes it: an outgoing connection, a listener of another worker.
"""

import itertools
import socket

# Below what the kernel chooses from (net.ipv4.ip_local_port_range begins at 32768).
BLOCKS = range(12_000, 32_000, 500)


def _block() -> tuple[socket.socket, range]:
    """A block that nobody has; its first port, held until this process ends, says so."""
    for first in BLOCKS:
        try:
            return socket.create_server(("127.0.0.1", first)), range(first + 1, first + BLOCKS.step)
        except OSError:
            continue
    raise RuntimeError("Every block of ports is taken.")


_held, _numbers = _block()
_turns = itertools.cycle(_numbers)


def free_port() -> int:
    """One that nothing listens at now; the same one comes again after hundreds of others."""
    for port in itertools.islice(_turns, len(_numbers)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise RuntimeError("Every port of the block is taken.")

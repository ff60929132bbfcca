"""TLS on the server's side, begun on a connection that carried plaintext, on both event loops."""

import asyncio
import ssl
from typing import Any, cast

# What may arrive while the handler is asked, before reading stops.
HELD_WHILE_BUSY = 65_536
_SHUTDOWN_SECONDS = 5.0


async def encrypt(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    early: bytes,
    seconds: float,
) -> asyncio.Transport | None:
    """The encrypted transport, or None if the client has gone. Raises OSError.

    `early` is what has been read of the client's handshake already.
    """
    loop = asyncio.get_running_loop()
    if early:
        loop.call_soon(_pass_on, transport, early)
    encrypted = await loop.start_tls(
        transport,
        protocol,
        context,
        server_side=True,
        ssl_handshake_timeout=seconds,
        ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    if encrypted is not None:
        # While reading is paused, TLS goes on and would hold four times as much.
        cast("Any", encrypted).set_read_buffer_limits(HELD_WHILE_BUSY)
        # Eight times as much, of replies that the client does not read.
        encrypted.set_write_buffer_limits(HELD_WHILE_BUSY)
    return encrypted


def _pass_on(transport: asyncio.Transport, data: bytes) -> None:
    """Hand what was read too early to the protocol that `start_tls` has put in our place."""
    tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
    while data and not transport.is_closing():
        space = memoryview(tls.get_buffer(len(data)))
        count = min(len(space), len(data))
        space[:count] = data[:count]
        tls.buffer_updated(count)
        data = data[count:]

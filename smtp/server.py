"""The SMTP server for submission (RFC 5321, RFC 6409).

server = SmtpServer(handler, hostname="mail.example.com", tls=context)
await server.listen("127.0.0.1", 465, implicit_tls=True)
await server.listen("127.0.0.1", 587, implicit_tls=False)
...
await server.drain()
"""

import asyncio
import ssl
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

from smtp.connection import SmtpServerProtocol
from smtp.counter import ConnectionCounter
from smtp.proxied import ProxiedProtocol
from smtp.service import Service
from smtp.session import Body, Envelope, Handler, Limits, MessageSink, Session

__all__ = [
    "Body",
    "ConnectionCounter",
    "Envelope",
    "Handler",
    "Limits",
    "MessageSink",
    "Session",
    "SmtpServer",
    "SmtpServerProtocol",
]


class SmtpServer:
    """Everything that the connections of one service share."""

    def __init__(
        self,
        handler: Handler,
        *,
        hostname: str,
        tls: ssl.SSLContext,
        limits: Limits | None = None,
        counter: ConnectionCounter | None = None,
        proxy_networks: tuple[IPv4Network | IPv6Network, ...] = (),
        on_connections: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Connections from `proxy_networks` must begin with a PROXY header.

        `on_connections` hears how many are open whenever that changes.
        """
        self._service = Service(
            handler=handler,
            hostname=hostname,
            tls=tls,
            limits=limits or Limits(),
            counter=counter or ConnectionCounter(),
            proxy_networks=proxy_networks,
            on_connections=on_connections,
        )
        self._listeners: list[asyncio.Server] = []

    def protocol_factory(self, *, implicit_tls: bool) -> Callable[[], asyncio.Protocol]:
        """For `loop.create_server`, always without its `ssl`.

        The protocol does both kinds of TLS itself, so that a connection counts before its
        handshake.
        """

        def accept(client: str | None = None) -> SmtpServerProtocol:
            return SmtpServerProtocol(self._service, implicit_tls=implicit_tls, client=client)

        if self._service.proxy_networks:
            return lambda: ProxiedProtocol(self._service, accept)
        return accept

    async def listen(
        self, host: str, port: int, *, implicit_tls: bool, shared: bool = False
    ) -> asyncio.Server:
        """Accept connections at `host` and `port` until `drain`.

        `shared` with other processes of ours, over which the kernel spreads the connections.
        """
        factory = self.protocol_factory(implicit_tls=implicit_tls)
        listener = await asyncio.get_running_loop().create_server(
            factory, host, port, backlog=1024, reuse_port=shared or None
        )
        self._listeners.append(listener)
        return listener

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Greet with this certificate from now on; sessions that have begun keep theirs."""
        self._service.tls = context

    async def drain(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109  (a grace period)
        """Stop listening, tell the idle, wait for messages under way, cut the rest."""
        self._service.draining = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._service.connections):
            connection.drain()
        if waiting := [
            *(connection.closed for connection in self._service.connections),
            *self._service.tasks,
        ]:
            await asyncio.wait(waiting, timeout=timeout)
        for connection in list(self._service.connections):
            connection.cut()
        for task in self._service.tasks:
            task.cancel()
        if self._service.tasks:
            await asyncio.wait(self._service.tasks)
        for listener in self._listeners:
            await listener.wait_closed()

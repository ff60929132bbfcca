"""A connection through a load balancer: its PROXY header is read before anything else happens."""

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_address
from typing import cast

from smtp.deadline import Deadline
from smtp.proxy import Origin, ProxyError, parse_proxy_header
from smtp.service import Service

log = logging.getLogger("smtp.server")


class ProxiedProtocol(asyncio.Protocol):
    """Finds out who the client is, and hands the connection to what `accept` makes for it.

    Only the networks that `Service.proxy_networks` names are asked for a header, for anybody else
    could claim to be anybody; from them it must come, at once and well-formed.
    """

    def __init__(self, service: Service, accept: Callable[[str], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        self._service = service
        self._accept = accept
        self._buffer = b""
        self._deadline = Deadline(loop, self.cut)
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else "local"
        self._service.add(self)
        if self._is_balancer():
            self._deadline.arm(self._service.limits.proxy_header)
        else:
            self._hand_over(self._peer)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            origin = parse_proxy_header(self._buffer)
        except ProxyError as error:
            log.warning("connection from %s closed: PROXY header: %s", self._peer, error)
            self.cut()
            return
        if origin:
            self._go_on(origin)

    def connection_lost(self, _: Exception | None) -> None:
        self._leave()

    def drain(self) -> None:
        """Nothing has been said yet: the connection is closed."""
        self._transport.close()

    def cut(self) -> None:
        self._transport.abort()

    def _is_balancer(self) -> bool:
        try:
            address = ip_address(self._peer)
        except ValueError:  # a Unix socket has no address
            return False
        return any(address in network for network in self._service.proxy_networks)

    def _go_on(self, origin: Origin) -> None:
        rest = self._buffer[origin.length :]
        protocol = self._hand_over(origin.address or self._peer)
        if rest:
            protocol.data_received(rest)

    def _hand_over(self, client: str) -> asyncio.Protocol:
        self._leave()
        protocol = self._accept(client)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        return protocol

    def _leave(self) -> None:
        self._deadline.cancel()
        self._service.remove(self)
        if not self.closed.done():
            self.closed.set_result(None)

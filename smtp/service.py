"""What all connections of one server share."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

from smtp.counter import ConnectionCounter
from smtp.session import Handler, Limits


class OpenConnection(Protocol):
    """One of them, as the server sees it."""

    closed: asyncio.Future[None]

    def drain(self) -> None:
        """End the session now if the client is idle, else after what it is doing."""
        ...

    def cut(self) -> None:
        """End the session whatever it is doing."""
        ...


@dataclass(eq=False)
class Service:
    """The settings of a server, its open connections and the work under way."""

    handler: Handler
    hostname: str
    tls: ssl.SSLContext
    limits: Limits
    counter: ConnectionCounter
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    connections: set[OpenConnection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    draining: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    on_connections: Callable[[int], None] = lambda _count: None

    def add(self, connection: OpenConnection) -> None:
        self.connections.add(connection)
        self.on_connections(len(self.connections))

    def remove(self, connection: OpenConnection) -> None:
        self.connections.discard(connection)
        self.on_connections(len(self.connections))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task that outlives its connection.

        A message whose final dot has arrived must be finished, whoever is still there to hear it.
        """
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

"""Connections to the servers that routes name: pooled, and careful with what does not work."""

import asyncio
from collections import defaultdict
from collections.abc import Hashable
from typing import NamedTuple
from uuid import UUID

from delivery.database import Database
from delivery.metrics import connection_counter
from delivery.routing import Route, RouteKind
from delivery.sign_in import GatewaySignIns, is_refusal
from sendas.services.outbound_gateway import smart_host_sign_in
from sendas.upstream import open_relay, open_smart_host
from smtp.client import Connection
from smtp.failure import SmtpFailure
from smtp.pool import ConnectionPool
from smtp.session import Envelope
from smtp.target import Server

RELAY_CONNECTIONS = 20  # of one run, to our own relay
# A server that did not answer is not asked for every other message that waits for it.
DOWN_SECONDS = 30.0
GOODBYE_SECONDS = 0.05  # for QUIT, and for TLS to end its part


class Trouble(NamedTuple):
    failure: SmtpFailure
    until: float


class Upstreams:
    """Starts messages on pooled connections. Belongs to one event loop.

    One connection is opened after the other for each server and credential.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sign_ins = GatewaySignIns(database)
        self._pools = {
            # Apart, so that servers which people named can't take the places of our own.
            RouteKind.DEFAULT: ConnectionPool(
                per_key=RELAY_CONNECTIONS, on_start=connection_counter(RouteKind.DEFAULT)
            ),
            RouteKind.GATEWAY: ConnectionPool(
                server_of=server_of, on_start=connection_counter(RouteKind.GATEWAY)
            ),
        }
        self._opening: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._trouble: dict[Hashable, Trouble] = {}

    async def start_message(self, route: Route, envelope: Envelope) -> Connection:
        """Raises SmtpFailure, SmtpMsa.DoesNotExist, CredentialError, and what the database does."""
        return await self._pools[route.kind].start_message(
            pool_key(route), lambda: self._open(route), envelope
        )

    def release(self, route: Route, connection: Connection) -> None:
        self._pools[route.kind].release(pool_key(route), connection)

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        await asyncio.sleep(GOODBYE_SECONDS)

    async def _open(self, route: Route) -> Connection:
        key = pool_key(route)
        async with self._opening[key]:
            now = asyncio.get_running_loop().time()
            trouble = self._trouble.get(key)
            if trouble and now < trouble.until:
                raise trouble.failure.again()
            try:
                return await self._connect(route)
            except SmtpFailure as failure:
                self._trouble[key] = Trouble(failure, now + DOWN_SECONDS)
                raise

    async def _connect(self, route: Route) -> Connection:
        if route.is_relay:
            return await open_relay()
        if route.kind == RouteKind.DEFAULT or route.credential_id is None:
            return await open_outbound_gateway(route, self._database)
        return await self._sign_ins.open(route, route.credential_id)


async def open_outbound_gateway(route: Route, database: Database) -> Connection:
    """Raises SmtpFailure, CredentialError, and what the database does."""
    credential = None
    if route.credential_id:
        credential = await database(smart_host_sign_in, route.credential_id)
    return await open_smart_host(route.server, credential)


class PoolKey(NamedTuple):
    """Never by host or recipient: two people with one host must not share a session."""

    kind: RouteKind
    server: Server
    credential_id: UUID | None
    least_tls: str


def pool_key(route: Route) -> PoolKey:
    return PoolKey(route.kind, route.server, route.credential_id, route.least_tls)


def server_of(key: PoolKey) -> str:
    """By what a pool of gateways is bounded: no provider that stalls takes all places."""
    return key.server.host


def is_refused_password(failure: SmtpFailure, route: Route) -> bool:
    return is_refusal(failure) and route.kind == RouteKind.GATEWAY

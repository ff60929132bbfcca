"""How Outgate reaches a server that a person named: one guard, one TLS context, one own name."""

import ssl
from functools import cache

from django.conf import settings

from policies.guardrails import TLS_VERSIONS
from smtp.client import Connection
from smtp.egress import EgressGuard
from smtp.relay_url import parse_relay_url
from smtp.sign_on import connect
from smtp.target import Credential, Server, Timeouts
from smtp.tls import ClientContext, client_tls_context

LEAST_TLS = TLS_VERSIONS[0]


@cache
def egress_guard() -> EgressGuard:
    return EgressGuard(
        allowed_networks=settings.OUTGATE_EGRESS_NETWORKS, ports=settings.OUTGATE_EGRESS_PORTS
    )


@cache
def tls_context(least: str = LEAST_TLS) -> ClientContext:
    """Verifies against the system's roots, or those that SSL_CERT_FILE names."""
    context = client_tls_context()
    if least != LEAST_TLS:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def open_gateway(
    server: Server,
    credential: Credential,
    *,
    least_tls: str = LEAST_TLS,
    timeouts: Timeouts | None = None,
) -> Connection:
    """Connect and sign in to a server that a person named. Raises SmtpFailure."""
    return await connect(
        server,
        credential=credential,
        guard=egress_guard(),
        tls=tls_context(least_tls),
        hostname=settings.OUTGATE_HOSTNAME,
        timeouts=timeouts,
    )


@cache
def smart_host_guard() -> EgressGuard:
    """An administrator of a unit is not the operator: no server inside, unless he opened it."""
    return EgressGuard(allowed_networks=settings.OUTGATE_SMART_HOST_NETWORKS, ports=range(1, 65536))


async def open_smart_host(
    server: Server, credential: Credential | None, *, timeouts: Timeouts | None = None
) -> Connection:
    """Connect to an outbound gateway that an administrator named for a unit."""
    return await connect(
        server,
        credential=credential,
        guard=smart_host_guard(),
        tls=tls_context(),
        hostname=settings.OUTGATE_HOSTNAME,
        timeouts=timeouts,
    )


async def open_relay() -> Connection:
    """Connect to the organisation's own relay: the operator named it, so no guard asks."""
    server, credential = relay()
    return await connect(
        server,
        credential=credential,
        guard=None,
        tls=tls_context(),
        hostname=settings.OUTGATE_HOSTNAME,
    )


@cache
def relay() -> tuple[Server, Credential | None]:
    """The server that OUTGATE_RELAY_URL names."""
    return parse_relay_url(settings.OUTGATE_RELAY_URL)

"""One document from a web server that a person's address names, within the egress guard."""

import asyncio
import contextlib
import http.client
import io
import ssl

from smtp.egress import EgressGuard, Endpoint
from smtp.failure import SmtpFailure

BODY_LIMIT = 65_536
_HEAD_LIMIT = 16_384


async def fetch(
    host: str, target: str, *, port: int, guard: EgressGuard, tls: ssl.SSLContext
) -> bytes | None:
    """The body that answers GET with 200, or None whatever else happens.

    The name is looked up once, all answers must be allowed, and the connection goes to the literals
    alone; TLS is verified for the name. A redirect is not followed: where it leads the guard
    would have to be asked again, and a name of ours could be meant. How it went wrong is not told,
    for it would tell what answers where. The caller sets the time.
    """
    try:
        reader, writer = await _open(await guard.resolve(host, port), host, tls)
        try:
            # HTTP/1.0 ends with the connection, so nothing has to be cut into chunks.
            writer.write(f"GET {target} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode("ascii"))
            return _body(await _read(reader))
        finally:
            writer.transport.abort()
    except (SmtpFailure, OSError, http.client.HTTPException, ValueError):
        return None


async def _open(
    endpoints: list[Endpoint], host: str, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first that answers: a name may have an address that this machine can't reach."""
    for address, port in endpoints:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port, ssl=tls, server_hostname=host)
    raise OSError("none of the addresses answers")


async def _read(reader: asyncio.StreamReader) -> bytes:
    """All there is. ValueError for more than any document of use has."""
    raw = b""
    while piece := await reader.read(BODY_LIMIT):
        raw += piece
        if len(raw) > BODY_LIMIT + _HEAD_LIMIT:
            raise ValueError("the answer is too long")
    return raw


class _Received:
    """What http.client takes for a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _body(raw: bytes) -> bytes | None:
    response = http.client.HTTPResponse(_Received(raw))  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return body if response.status == 200 and len(body) <= BODY_LIMIT else None

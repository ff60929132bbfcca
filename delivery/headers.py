"""What Outgate takes out of a header block and what it adds, on every route."""

from datetime import UTC, datetime

from django.conf import settings

from delivery.routing import Route
from smtp.address import split_address
from smtp.header import (
    HeaderBlock,
    date_field,
    message_id_field,
    received_field,
    sender_field,
)

# Who was copied in secret, and who a mail program says has sent it.
REMOVED = ("sender", "bcc", "resent-bcc", "return-path")
RESENT = ("resent-from", "resent-sender")


def complete_header(header: HeaderBlock, from_address: str) -> HeaderBlock:
    """Add the Date and Message-ID that RFC 6409 section 8 asks a submission server for."""
    if not header.get_all("date"):
        header = header.append(date_field(datetime.now(UTC)))
    if not header.message_id:
        header = header.without(["message-id"])
        header = header.append(message_id_field(split_address(from_address)[1]))
    return header


def write_header(
    header: HeaderBlock, route: Route, *, protocol: str, tls: str | None, trace: str
) -> HeaderBlock:
    """The block as the upstream gets it; `trace` is our id of the transaction.

    `protocol` is what the client spoke, in the words of RFC 3848 and RFC 6531 section 4.3.
    """
    return add_received(route_header(header, route), protocol=protocol, tls=tls, trace=trace)


def route_header(header: HeaderBlock, route: Route) -> HeaderBlock:
    """The block as the route wants it: without what says otherwise who sends it, and to whom."""
    header = header.without(REMOVED)
    return header.append(sender_field(route.sender)) if route.sender else header


def add_received(header: HeaderBlock, *, protocol: str, tls: str | None, trace: str) -> HeaderBlock:
    """The block with our trace field on top."""
    received = received_field(
        by=settings.OUTGATE_HOSTNAME,
        protocol=protocol,
        tls=tls,
        message_id=trace,
        now=datetime.now(UTC),
    )
    return header.prepend(received)

"""The server that people read their mail from: Outgate only names it to mail programs."""

from typing import NamedTuple
from urllib.parse import urlsplit


class IncomingServer(NamedTuple):
    """As the file for mail programs writes it."""

    kind: str
    host: str
    port: int
    socket_type: str


SCHEMES = {
    "imaps": ("imap", 993, "SSL"),
    "imap+starttls": ("imap", 143, "STARTTLS"),
    "pop3s": ("pop3", 995, "SSL"),
}


def parse_incoming_url(text: str) -> IncomingServer | None:
    """`imaps://`, `imap+starttls://` or `pop3s://` with a host; "" is none. Raises ValueError."""
    if not text:
        return None
    url = urlsplit(text)
    if url.scheme not in SCHEMES or not url.hostname or url.username is not None:
        raise ValueError(f"The incoming server's URL begins with {', '.join(SCHEMES)}, and a host")
    kind, usual_port, socket_type = SCHEMES[url.scheme]
    return IncomingServer(kind, url.hostname, url.port or usual_port, socket_type)

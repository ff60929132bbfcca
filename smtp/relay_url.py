"""The URL by which an operator names a relay."""

from urllib.parse import unquote, urlsplit

from smtp.target import Credential, Security, Server

SCHEMES = {
    "smtp": (Security.NONE, 25),
    "smtp+starttls": (Security.STARTTLS, 587),
    "smtps": (Security.SSL, 465),
}


def parse_relay_url(text: str) -> tuple[Server, Credential | None]:
    """`smtp://`, `smtp+starttls://` or `smtps://`, with user and password percent-encoded.

    Raises ValueError, which quotes nothing of the URL: it may hold the password.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("Host and port of the relay's URL can't be told apart") from None
    if url.scheme not in SCHEMES or not url.hostname:
        raise ValueError(f"A relay's URL begins with {', '.join(SCHEMES)} and names a host")
    security, usual_port = SCHEMES[url.scheme]
    server = Server(url.hostname, port or usual_port, security)
    if url.username is None:
        return server, None
    return server, Credential(unquote(url.username), unquote(url.password or ""))

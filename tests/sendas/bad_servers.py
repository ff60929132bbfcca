"""Servers that can't be used, one for each way, and the words that tell it."""

import contextlib
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Thread

from tests.sendas.conftest import PARTNER, partner_server
from tests.smtp.certificates import Authority

Play = Callable[[socket.socket], None]


@dataclass(frozen=True)
class BadServer:
    """`opened` yields the server's port, `words` stand on the page of who tried to use it."""

    name: str
    opened: Callable[[Authority, Authority], contextlib.AbstractContextManager[int]]
    words: str


@contextlib.contextmanager
def scripted(play: Play) -> Iterator[int]:
    """A blocking server: asyncio would close before its alert about the version has left."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with client:
                play(client)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(15)


def to_starttls(client: socket.socket) -> None:
    client.sendall(b"220 partner.example\r\n")
    client.recv(1000)
    client.sendall(b"250-partner.example\r\n250 STARTTLS\r\n")
    client.recv(1000)
    client.sendall(b"220 go on\r\n")


def old_tls(trusted: Authority, _other: Authority) -> contextlib.AbstractContextManager[int]:
    context = trusted.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    def play(client: socket.socket) -> None:
        to_starttls(client)
        context.wrap_socket(client, server_side=True)

    return scripted(play)


IN_THE_CLEAR = {
    "greeting": b"220 partner.example\r\n",
    "EHLO": b"250-partner.example\r\n250 STARTTLS\r\n",
    "STARTTLS": b"220 go on\r\n",
}
ENCRYPTED = {
    "EHLO under TLS": b"250-partner.example\r\n250 AUTH PLAIN\r\n",
    "sign-in": b"235 welcome\r\n",
    "sender": b"250 ok\r\n",
}
STALLS = [*IN_THE_CLEAR, "handshake", *ENCRYPTED]


def stalling_at(step: str, trusted: Authority) -> contextlib.AbstractContextManager[int]:
    """Says nothing more from there on, and keeps the connection."""
    context = trusted.server_context()

    def play(client: socket.socket) -> None:
        if not answer(client, IN_THE_CLEAR):
            return
        if step == "handshake":
            keep(client)
            return
        with context.wrap_socket(client, server_side=True) as encrypted:
            answer(encrypted, ENCRYPTED)

    def answer(client: socket.socket, answers: dict[str, bytes]) -> bool:
        for name, reply in answers.items():
            if name != "greeting":
                client.recv(1000)
            if name == step:
                keep(client)
                return False
            client.sendall(reply)
        return True

    def keep(client: socket.socket) -> None:
        while client.recv(1000):
            pass

    return scripted(play)


def another_protocol(_trusted: Authority, _other: Authority) -> contextlib.AbstractContextManager:
    return scripted(lambda client: client.sendall(b"SSH-2.0-secret_banner\r\n"))


def partner(
    context: Callable[[Authority, Authority], ssl.SSLContext | None],
    *,
    sign_in_reply: str = "",
    refused_sender: str = "",
    **options: object,
) -> Callable[[Authority, Authority], contextlib.AbstractContextManager[int]]:
    """An aiosmtpd that behaves but for one thing."""

    @contextlib.contextmanager
    def opened(trusted: Authority, other: Authority) -> Iterator[int]:
        with partner_server(tls_context=context(trusted, other), **options) as server:
            server.sign_in_reply = sign_in_reply
            if refused_sender:
                server.refused_senders[PARTNER] = refused_sender
            yield server.port

    return opened


def good(trusted: Authority, _other: Authority) -> ssl.SSLContext:
    return trusted.server_context()


NO_MAIL_SERVER = "No mail server answers like that at localhost"
BAD_SERVERS = [
    BadServer("another protocol", another_protocol, NO_MAIL_SERVER),
    BadServer(
        "no encryption",
        partner(lambda _trusted, _other: None, auth_require_tls=False),
        "offers no encryption on port",
    ),
    BadServer("old TLS", old_tls, "only speaks an outdated kind of TLS"),
    BadServer(
        "another name",
        partner(lambda trusted, _other: trusted.server_context(names=("mx07.hosting.example",))),
        "is for another name than localhost",
    ),
    BadServer(
        "expired",
        partner(lambda trusted, _other: trusted.server_context(expired=True)),
        "certificate of localhost has expired",
    ),
    BadServer(
        "unknown authority",
        partner(lambda _trusted, other: other.server_context()),
        "comes from an authority that is not known here",
    ),
    BadServer(
        "no sign-in",
        partner(good, auth_exclude_mechanism=["PLAIN", "LOGIN"]),
        "lets nobody sign in on port",
    ),
    BadServer(
        "wrong password",
        partner(good, sign_in_reply="535 5.7.8 Error: authentication failed"),
        "does not accept this user name and password",
    ),
    BadServer(
        "app password",
        partner(good, sign_in_reply="534 5.7.9 Application-specific password required"),
        "wants an app password, not the password of the account",
    ),
    BadServer(
        "passwords off",
        partner(
            good,
            sign_in_reply="535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is "
            "disabled for the Tenant",
        ),
        "takes no passwords for this mailbox",
    ),
    BadServer(
        "sign-in put off",
        partner(good, sign_in_reply="454 4.7.0 Temporary authentication failure"),
        "can&#x27;t check passwords at the moment",
    ),
    BadServer(
        "sender refused",
        partner(good, refused_sender="553 5.7.1 Sender address rejected: not owned by user"),
        f"takes no mail from {PARTNER}. Sign in with the user name",
    ),
    BadServer(
        "sender put off",
        partner(good, refused_sender="451 4.3.0 Try later"),
        f"takes no mail from {PARTNER} at the moment",
    ),
]

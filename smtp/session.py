"""What the server and its handler tell each other."""

import secrets
from dataclasses import dataclass, field
from typing import Literal, Protocol

from smtp.header import HeaderBlock
from smtp.reply import Reply

Body = Literal["7BIT", "8BITMIME"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may ask of the server. Sizes in octets, times in seconds."""

    message_size: int = 36_700_160  # 25 MB of attachments, as base64 makes them
    header_size: int = 102_400
    command_line: int = 512  # RFC 5321 4.5.3.1.4
    auth_line: int = 12_288  # RFC 4954 4
    recipients: int = 100  # RFC 5321 4.5.3.1.8
    recipients_in_excess: int = 1_000  # refused, but no errors: the client sends them another time
    errors: int = 20
    junk_commands: int = 100  # commands that bring no message nearer: NOOP, RSET, VRFY, HELP, EHLO
    auth_failures: int = 3
    auth_failure_delay: float = 5.0
    connections_per_ip: int = 50
    greeting_delay: float = 0.02  # time in which a client that talks first gives itself away
    proxy_header: float = 5.0
    before_auth: float = 60.0
    idle: float = 300.0  # RFC 5321 4.5.3.2.7
    bytes_per_second: int = 500
    rate_window: float = 30.0  # the rate is measured over this long
    linger: float = 2.0  # quiet time after which a connection we have ended is closed


@dataclass(slots=True)
class Session:
    """One client's connection, as far as a handler may know it.

    `tls` is the protocol version ("TLSv1.3") or None; `account` is what `Handler.authenticate`
    returned.
    """

    peer: str
    tls: str | None = None
    account: object | None = None
    helo: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def for_log(self) -> dict[str, dict[str, str]]:
        """The `extra` of a log call, by which structured logs know the session."""
        return {"fields": {"session": self.id}}


@dataclass(slots=True)
class Envelope:
    """One mail transaction. `sender` is "" for the null reverse-path.

    Addresses keep the client's spelling of the local part, their domain is in lower-case A-labels.
    `size` is what the client announced (RFC 1870). `smtputf8` says that it asked for RFC 6531, so
    that addresses and header fields may be UTF-8.
    """

    sender: str
    recipients: list[str] = field(default_factory=list)
    size: int | None = None
    body: Body = "7BIT"
    smtputf8: bool = False


class MessageSink(Protocol):
    """Where the content of one message goes; the client waits while a call is pending."""

    async def write(self, chunk: bytes) -> Reply | None:
        """Take content in the form of DATA: CRLF, dot-stuffed, without the final dot line.

        Content that came by BDAT has been brought into this form.

        A Reply says that this message has failed: the rest is read and dropped, then the client
        hears it.
        """
        ...

    async def finish(self) -> Reply:
        """The client's final dot has arrived; what is returned is what the client hears."""
        ...

    async def abort(self) -> None:
        """The message will not be completed; may be called at any time."""
        ...


class Handler(Protocol):
    """What the server asks. Whatever it raises becomes 451 4.3.0."""

    async def authenticate(self, session: Session, username: str, password: str) -> object | Reply:
        """The account that signs in, or the refusal (535, 454)."""
        ...

    async def begin(
        self, session: Session, envelope: Envelope, header: HeaderBlock
    ) -> MessageSink | Reply:
        """The header block is complete. A Reply is sent to the client after its final dot."""
        ...

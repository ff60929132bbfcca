"""What the demo's two mail servers have kept, read back from their Maildirs."""

import re
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import default
from email.utils import parseaddr
from itertools import chain
from pathlib import Path
from typing import NamedTuple

SERVERS = ("ours", "partner")
LIMIT = 50  # messages shown of each server
# Outgate itself takes no longer header block.
HEADER_BYTES = 128 * 1024
# RFC 3848: S for TLS, A for a client that signed in.
_RECEIVED = re.compile(
    r"from (?P<client>\S+).* by (?P<server>\S+) with E?SMTP(?P<tls>S?)(?P<signed_in>A?)\b"
)


class Captured(NamedTuple):
    """A message as a server got it; header fields are text for people, "" where they lack."""

    server: str
    file: Path
    at: datetime
    envelope_sender: str
    recipients: str
    subject: str
    from_address: str
    sender: str
    received: str
    message_id: str

    @property
    def name(self) -> str:
        """Of the file: when it came, then what makes it unique."""
        return self.file.name


class Received(NamedTuple):
    """The field that the capturing server wrote (RFC 5321, 4.4)."""

    client: str
    server: str
    tls: bool
    signed_in: bool


def newest_captured(maildir: Path, server: str) -> list[Captured]:
    """The last messages of one server, the newest first."""
    newest = sorted(message_files(maildir), key=lambda file: file.name, reverse=True)[:LIMIT]
    return [_read(file, server) for file in newest]


def read_text(file: Path) -> str:
    """What a mail program shows of it as plain text; "" where it has none."""
    body = BytesParser(policy=default).parsebytes(file.read_bytes()).get_body(("plain",))
    return str(body.get_content()) if body else ""


def message_files(maildir: Path) -> list[Path]:
    """Every message, seen by a mail program or not; none before the server's first start."""
    return list(chain((maildir / "new").glob("*"), (maildir / "cur").glob("*")))


def read_received(text: str) -> Received | None:
    """None for a field in another form than ours."""
    found = _RECEIVED.match(" ".join(text.split()))
    if found is None:
        return None
    return Received(found["client"], found["server"], bool(found["tls"]), bool(found["signed_in"]))


def _read(file: Path, server: str) -> Captured:
    with file.open("rb") as opened:
        raw = opened.read(HEADER_BYTES)
    header = BytesHeaderParser().parsebytes(raw)
    return Captured(
        server=server,
        file=file,
        at=datetime.fromtimestamp(int(file.name.partition(".")[0]) / 1e9, UTC),
        envelope_sender=_text(header, "X-Envelope-From"),
        recipients=_text(header, "X-Envelope-To"),
        subject=_text(header, "Subject"),
        from_address=_address(header, "From"),
        sender=_address(header, "Sender"),
        received=_text(header, "Received"),
        message_id=_text(header, "Message-ID"),
    )


def _text(header: Message, name: str) -> str:
    """The field with its encoded words decoded, or as it stands where they can't be."""
    field = header.get(name, "")
    try:
        return str(make_header(decode_header(field))).strip()
    except (HeaderParseError, LookupError, UnicodeError):
        return str(field)


def _address(header: Message, name: str) -> str:
    text = _text(header, name)
    return parseaddr(text)[1] or text

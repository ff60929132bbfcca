"""The header block of a message, over raw bytes (RFC 5322 2.2, 3.6).

Python's `email` has two parsers that disagree on hostile headers, and rewrites what it passes on.
Here a block is either plain and kept byte for byte, or refused.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from smtp.address import AddressError, Mailbox, parse_from

MAX_BLOCK = 102_400
MAX_LINE = 998  # RFC 5322 2.1.1, without CRLF

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
# No registered field begins with a dot; refusing it spares every user of a block the dot-stuffing.
_NAME = re.compile(rb"([!-\-/-9;-~][!-9;-~]*):")


class HeaderError(ValueError):
    """The header block cannot be accepted; the text says why, for the sender's eyes."""


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields in order: (name in lower case, raw bytes with CRLF).

    Edits return a new block.
    """

    fields: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> "HeaderBlock":
        """The block `raw`, with or without the empty line that ends it. Raises HeaderError."""
        if len(raw) > MAX_BLOCK:
            raise HeaderError(f"The header is larger than {MAX_BLOCK} octets")
        if _BARE.search(raw):
            raise HeaderError("The header holds a NUL, or a CR or LF that stands alone")
        fields: list[tuple[str, bytes]] = []
        for line in _lines(raw):
            _add_line(fields, line)
        return cls(tuple(fields))

    def encode(self) -> bytes:
        """The block with the empty line that ends it; never needs dot-stuffing."""
        return b"".join(raw for _, raw in self.fields) + b"\r\n"

    def get_all(self, name: str) -> list[bytes]:
        """What stands behind the colon of each field of that name: raw, without last CRLF."""
        wanted = name.lower()
        return [raw.split(b":", 1)[1][:-2] for known, raw in self.fields if known == wanted]

    @property
    def is_ascii(self) -> bool:
        return all(raw.isascii() for _, raw in self.fields)

    def from_mailbox(self, *, smtputf8: bool = False) -> Mailbox:
        """The one mailbox of the one From field. Raises HeaderError.

        RFC 5322 3.6.2 allows several mailboxes; we do not, for one address decides the route.
        An address beyond ASCII is taken with `smtputf8` only.
        """
        bodies = self.get_all("from")
        if len(bodies) != 1:
            raise HeaderError(
                f"The message has {len(bodies) or 'no'} From fields, and needs exactly one"
            )
        try:
            return parse_from(bodies[0], smtputf8=smtputf8)
        except AddressError as error:
            raise HeaderError(f"From field: {error}") from None

    @property
    def message_id(self) -> str | None:
        """The text of the first Message-ID field, or None."""
        bodies = self.get_all("message-id")
        return (
            bodies[0].replace(b"\r\n", b"").decode("utf-8", "replace").strip() if bodies else None
        )

    @property
    def received_count(self) -> int:
        return sum(name == "received" for name, _ in self.fields)

    def without(self, names: Iterable[str]) -> "HeaderBlock":
        """The block without any field of these names."""
        unwanted = {name.lower() for name in names}
        return HeaderBlock(tuple(field for field in self.fields if field[0] not in unwanted))

    def prepend(self, *fields: bytes) -> "HeaderBlock":
        """The block with these whole fields (CRLF included) on top, in the order given."""
        return HeaderBlock(HeaderBlock.parse(b"".join(fields)).fields + self.fields)

    def append(self, *fields: bytes) -> "HeaderBlock":
        """The block with these whole fields (CRLF included) at its end."""
        return HeaderBlock(self.fields + HeaderBlock.parse(b"".join(fields)).fields)


def _lines(raw: bytes) -> list[bytes]:
    *lines, rest = raw.split(b"\r\n")
    if rest:
        raise HeaderError("The last header line does not end with CRLF")
    if lines and not lines[-1]:
        lines.pop()
    if b"" in lines:
        raise HeaderError("The header holds an empty line")
    return lines


def _add_line(fields: list[tuple[str, bytes]], line: bytes) -> None:
    if len(line) > MAX_LINE:
        raise HeaderError(f"A header line is longer than {MAX_LINE} octets")
    if line[:1] in (b" ", b"\t"):
        if not fields:
            raise HeaderError("The first header line begins with a space")
        name, raw = fields[-1]
        fields[-1] = name, raw + line + b"\r\n"
    elif match := _NAME.match(line):
        fields.append((match[1].decode("ascii").lower(), line + b"\r\n"))
    else:
        raise HeaderError(
            "A header line is not of the form Name: text; an empty line ends the header"
        )


def received_field(
    *, by: str, protocol: str, tls: str | None, message_id: str, now: datetime
) -> bytes:
    """A trace field (RFC 5321 4.4) that names neither the login nor the client's address.

    `message_id` is our own mark for the transaction, not the Message-ID field; `now` must be aware.
    """
    how = f"{protocol} ({tls})" if tls else protocol
    return f"Received: by {by} with {how}\r\n\tid {message_id}; {format_datetime(now)}\r\n".encode(
        "ascii"
    )


def date_field(now: datetime) -> bytes:
    """A Date field; `now` must be aware."""
    return f"Date: {format_datetime(now)}\r\n".encode("ascii")


def message_id_field(domain: str) -> bytes:
    """A Message-ID field with 128 random bits before `domain`, an A-label."""
    return f"Message-ID: <{secrets.token_hex(16)}@{domain}>\r\n".encode("ascii")


def sender_field(address: str) -> bytes:
    """A Sender field with nothing but the address."""
    return f"Sender: {address}\r\n".encode("ascii")

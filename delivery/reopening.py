"""A failed message that its author opens again: read back from what delivery/letters.py wrote.

Attachments are never in memory whole: one look over the content notes where each begins and ends.
"""

import base64
import email
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import NamedTuple
from uuid import UUID

from accounts.models import User
from accounts.services.audit import Actor
from accounts.services.rights import demand_author
from delivery.letters import BASE64_LINE, Attachment, signed_html, signed_text
from delivery.models import OutboxMessage
from delivery.outbox import failed_with_content, read_chunk
from delivery.rich_text import clean_letter
from delivery.sealing import CHUNK_BYTES, ContentError
from sendas.services.addresses import list_addresses
from sendas.services.signatures import signature_as_text

POLICY = SMTPUTF8
ENCODED_LINE = 78  # octets of a line of base64, with its end
_PLAIN_NAME = re.compile(r"[\w .'-]+")


class Reopened(NamedTuple):
    """`given` for the fields of the form, by their names; `html` is its formatted text, or ""."""

    given: dict[str, str | bool]
    html: str
    attachments: list[Attachment]


def reopen(*, actor: Actor, message: OutboxMessage) -> Reopened | None:
    """None where it is not kept, or can't be read. Raise PermissionDenied but for its author."""
    demand_author(actor, message.account_id)
    if message.account is None or not failed_with_content().filter(pk=message.pk).exists():
        return None
    try:
        return _read(message, message.account)
    except ContentError:
        return None


def _read(message: OutboxMessage, author: User) -> Reopened:
    lines = _lines(message.pk)
    head = b"".join(_until_empty(lines))
    header = _parsed(head)
    if header.get_content_type() == "multipart/mixed":
        delimiter = f"--{header.get_boundary()}".encode()
        written, attachments = _parts(message.pk, lines, delimiter)
    else:
        written, attachments = head + b"".join(line for _place, line in lines), []
    text, html = _texts(_parsed(written))
    sender = header["From"].addresses[0].addr_spec
    plain, markup = _without_signature(author, sender, text, html)
    to, cc = (_addresses(header, name) for name in ("To", "Cc"))
    hidden = [each for each in message.recipients if each not in {**to, **cc}]
    given: dict[str, str | bool] = {
        "sender": sender,
        "to": ", ".join(to.values()),
        "cc": ", ".join(cc.values()),
        "bcc": ", ".join(hidden),
        "subject": str(header["Subject"] or ""),
        "text": plain,
        "with_signature": (plain, markup) != (text, html),
        "in_reply_to": " ".join(str(header["In-Reply-To"] or "").split()),
        "references": " ".join(str(header["References"] or "").split()),
    }
    return Reopened(given, clean_letter(markup), attachments)


def _lines(message_id: UUID) -> Iterator[tuple[int, bytes]]:
    """Each line without the dot that DATA put before it, and where it begins in the content."""
    number, place, rest, is_last = 0, 0, b"", False
    while not is_last:
        content, is_last = read_chunk(message_id, number)
        *whole, rest = (rest + content).split(b"\r\n")
        for line in whole:
            yield place, line.removeprefix(b".") + b"\r\n"
            place += len(line) + 2
        number += 1


def _until_empty(lines: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    for _place, line in lines:
        yield line
        if line == b"\r\n":
            return


def _parsed(octets: bytes) -> EmailMessage:
    return email.message_from_string(octets.decode(), _class=EmailMessage, policy=POLICY)


def _parts(
    message_id: UUID, lines: Iterator[tuple[int, bytes]], delimiter: bytes
) -> tuple[bytes, list[Attachment]]:
    """The first part, and the others as attachments."""
    written: list[bytes] = []
    attachments: list[Attachment] = []
    beginning, end = delimiter + b"\r\n", delimiter + b"--\r\n"
    next(lines)  # the delimiter of the first part
    for _place, line in lines:
        if line == beginning:
            break
        written.append(line)
    while head := b"".join(_until_empty(lines)):
        start = octets = 0
        for place, line in lines:
            if line in (beginning, end):
                break
            start = start or place
            octets += len(line)
            last = line
        padding = last.count(b"=") if octets else 0
        # Four signs are three octets; each line ends with two more.
        signs = octets - 2 * -(-octets // ENCODED_LINE)
        stored = _StoredFile(message_id, start, octets)
        part = _parsed(head)
        attachments.append(
            Attachment(
                part.get_filename("attachment"),
                part.get_content_type(),
                signs // 4 * 3 - padding,
                stored.read,
            )
        )
    return b"".join(written), attachments


class _StoredFile:
    """An attachment, decoded from the content as it is read."""

    def __init__(self, message_id: UUID, start: int, octets: int) -> None:
        self._message_id = message_id
        self._place = start
        self._end = start + octets
        self._encoded = bytearray()

    def read(self, octets: int) -> bytes:
        """So many, in whole lines; fewer at the end. Raises ContentError."""
        wanted = octets // BASE64_LINE * ENCODED_LINE
        while len(self._encoded) < wanted and self._place < self._end:
            number, start = divmod(self._place, CHUNK_BYTES)
            chunk = read_chunk(self._message_id, number).content
            taken = chunk[start : start + self._end - self._place]
            self._encoded += taken
            self._place += len(taken)
        decoded = base64.b64decode(self._encoded[:wanted])
        del self._encoded[:wanted]
        return decoded


def _texts(written: EmailMessage) -> tuple[str, str]:
    bodies = (written.get_body((kind,)) for kind in ("plain", "html"))
    text, html = (_with_plain_lines(body.get_content()) if body else "" for body in bodies)
    return text, html


def _with_plain_lines(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip("\n")


def _without_signature(author: User, sender: str, text: str, html: str) -> tuple[str, str]:
    """Both as they were typed, if they end with the signature that the address has now.

    A former one stays in the text: it is what was written.
    """
    listed = next((each for each in list_addresses(author) if each.address == sender), None)
    signature = listed.row.signature if listed and listed.row else ""
    below, below_html = signed_text("", signature_as_text(signature)), signed_html("", signature)
    if signature and text.endswith(below) and (not html or html.endswith(below_html)):
        return text.removesuffix(below), html.removesuffix(below_html)
    return text, html


def _addresses(header: EmailMessage, name: str) -> dict[str, str]:
    """By address, as the form takes them."""
    field = header[name]
    found = field.addresses if field else ()
    return {each.addr_spec: _typed(each.display_name, each.addr_spec) for each in found}


def _typed(name: str, address: str) -> str:
    if not name:
        return address
    if not _PLAIN_NAME.fullmatch(name):
        name = '"{}"'.format(re.sub(r'(["\\])', r"\\\1", name))
    return f"{name} <{address}>"

"""A message as the compose page takes it, and its form on the wire (RFC 5322, RFC 2045).

Header fields are written here, and only the text parts by Python's `email`: its folding breaks long
ids of messages and, before 3.11.10, encoded names with a comma in them.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple

from delivery.headers import add_received, complete_header
from smtp.address import Mailbox
from smtp.header import HeaderBlock

# Only 7-bit bodies: these pass every server.
TEXT_POLICY = SMTP.clone(cte_type="7bit")
BASE64_LINE = 57  # octets that one line of 76 characters holds
READ_OCTETS = BASE64_LINE * 4096
HEADER_OCTETS = 102_400  # at most, and more than the header block and all delimiters take

_LINE_STARTING_WITH_DOT = re.compile(rb"^\.", re.MULTILINE)
_TO_ESCAPE = re.compile(r'(["\\])')
_CONTENT_TYPE = re.compile(r"(?!message/|multipart/)[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,100}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Attachment(NamedTuple):
    name: str
    content_type: str
    size: int
    read: Callable[[int], bytes]

    @property
    def encoded_size(self) -> int:
        return -(-self.size // BASE64_LINE) * 78


class Letter(NamedTuple):
    """What somebody wrote; `in_reply_to` and `references` are ids of messages with their < >."""

    sender: Mailbox
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox] = ()
    bcc: Sequence[Mailbox] = ()
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: Sequence[Attachment] = ()
    reply_to: str = ""
    in_reply_to: str = ""
    references: Sequence[str] = ()

    @property
    def recipients(self) -> list[str]:
        """Each address once, in the order of the fields."""
        return list(dict.fromkeys(each.address for each in (*self.to, *self.cc, *self.bcc)))

    @property
    def needs_smtputf8(self) -> bool:
        addresses = (self.sender.address, self.reply_to, *self.recipients)
        return not all(address.isascii() for address in addresses)

    @property
    def most_octets(self) -> int:
        """How large it is on the wire, at most."""
        texts = 2 * len(f"{self.text}{self.html}".encode())
        return HEADER_OCTETS + texts + sum(each.encoded_size for each in self.attachments)


def signed_text(text: str, signature: str) -> str:
    """RFC 3676 4.3: the line above it ends with a space, by which programs find the signature."""
    return f"{text.rstrip()}\n\n-- \n{signature}" if signature else text


def signed_html(text: str, signature: str) -> str:
    return f"{text}\n<div>-- <br>{signature}</div>" if signature else text


def write_header(letter: Letter, number: str) -> HeaderBlock:
    """Everything but the fields of MIME. Without Bcc: whoever is in it stays unknown.

    Raises HeaderError where it is too large.
    """
    fields = [_address_field("From", [letter.sender])]
    if letter.to or not letter.cc:
        fields.append(_address_field("To", letter.to))
    if letter.cc:
        fields.append(_address_field("Cc", letter.cc))
    if letter.reply_to:
        fields.append(f"Reply-To: {letter.reply_to}\r\n")
    fields.append(f"Subject: {_encoded(letter.subject, 'Subject')}\r\n")
    if letter.in_reply_to:
        fields.append(f"In-Reply-To: {letter.in_reply_to}\r\n")
    if letter.references:
        fields.append("References: {}\r\n".format("\r\n ".join(letter.references)))
    header = HeaderBlock.parse("".join(fields).encode())
    header = complete_header(header, letter.sender.address)
    return add_received(header, protocol="HTTP", tls=None, trace=number)


def write_content(header: HeaderBlock, letter: Letter) -> Iterator[bytes]:
    """The message in the form of DATA, piece by piece: attachments never lie in memory whole."""
    message = _texts(letter)
    if letter.attachments:
        message.make_mixed()
    fields, _empty, body = message.as_bytes().partition(b"\r\n\r\n")
    yield header.append(fields + b"\r\n").encode()
    if not letter.attachments:
        yield _stuffed(body)
        return
    delimiter = f"--{message.get_boundary()}".encode()
    yield _stuffed(body.rpartition(delimiter + b"--")[0])
    for attachment in letter.attachments:
        yield delimiter + b"\r\n" + _attachment_header(attachment)
        while octets := attachment.read(READ_OCTETS):
            yield base64.encodebytes(octets).replace(b"\n", b"\r\n")
    yield delimiter + b"--\r\n"


def _texts(letter: Letter) -> EmailMessage:
    message = EmailMessage(policy=TEXT_POLICY)
    if letter.text or not letter.html:
        message.set_content(_with_plain_lines(letter.text))
        if letter.html:
            message.add_alternative(_with_plain_lines(letter.html), subtype="html")
    else:
        message.set_content(_with_plain_lines(letter.html), subtype="html")
    return message


def _with_plain_lines(text: str) -> str:
    return "\n".join(re.split(r"\r\n|\r|\n", text)).rstrip("\n") + "\n"


def _stuffed(body: bytes) -> bytes:
    return _LINE_STARTING_WITH_DOT.sub(b"..", body)


def _attachment_header(attachment: Attachment) -> bytes:
    part = EmailMessage(policy=TEXT_POLICY)
    known = _CONTENT_TYPE.fullmatch(attachment.content_type.lower())
    part["Content-Type"] = known[0] if known else "application/octet-stream"
    part["Content-Transfer-Encoding"] = "base64"
    name = _CONTROL.sub("", attachment.name) or "attachment"
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part.as_bytes()


def _address_field(name: str, mailboxes: Sequence[Mailbox]) -> str:
    if not mailboxes:
        return f"{name}: undisclosed-recipients:;\r\n"
    return f"{name}: " + ",\r\n ".join(map(_written, mailboxes)) + "\r\n"


def _written(mailbox: Mailbox) -> str:
    name = mailbox.display_name
    if not name:
        return mailbox.address
    if _needs_encoding(name):
        return f"{_encoded(name, 'From')}\r\n <{mailbox.address}>"
    return '"{}" <{}>'.format(_TO_ESCAPE.sub(r"\\\1", name), mailbox.address)


def _needs_encoding(text: str) -> bool:
    """Whether it can't be written as it is, or would be read as something else."""
    return not text.isascii() or "=?" in text


def _encoded(text: str, name: str) -> str:
    """The text for a field of that name, in encoded words (RFC 2047) where it needs them."""
    if not _needs_encoding(text):
        return text
    return Header(text, "utf-8", header_name=name, maxlinelen=76).encode(linesep="\r\n")

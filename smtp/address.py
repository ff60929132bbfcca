"""Addresses: the grammar of envelopes (RFC 5321 4.1.2) and of the From field (RFC 5322 3.4).

Beyond ASCII (RFC 6531) they are read only where the caller says that the client asked for it.

Strict wherever an address is concerned, for whoever owns it must be beyond doubt; lenient about
display names, which mail programs write in many ways.
"""

import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

import idna

from smtp.international import fold, is_unambiguous

MAX_LOCAL_PART = 64  # RFC 5321 4.5.3.1.1
MAX_ADDRESS = 254  # RFC 5321 4.5.3.1.3 less the angle brackets

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LOCAL = rf'(?P<local>{_ATEXT}+(?:\.{_ATEXT}+)*|"(?:[ !#-\[\]-~]|\\[ -~])+")'
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?P<domain>{_LABEL}(?:\.{_LABEL})*)"
_LITERAL = r"\[(?P<literal>[A-Za-z0-9.:]+)\]"

# RFC 6531 3.3; what a label may hold is left to IDNA.
_UTF8_LOCAL = _LOCAL.replace(_ATEXT, r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]")
_UTF8_DOMAIN = r"(?P<domain>[A-Za-z0-9.\x80-\U0010ffff-]+)"

_ADDR_SPEC = re.compile(rf"{_LOCAL}@{_DOMAIN}")
_UTF8_ADDR_SPEC = re.compile(rf"{_UTF8_LOCAL}@{_UTF8_DOMAIN}")
_PATH = re.compile(rf"<(?:{_LOCAL}@(?:{_DOMAIN}|{_LITERAL}))?>")
_UTF8_PATH = re.compile(rf"<{_UTF8_LOCAL}@{_UTF8_DOMAIN}>")
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED_PAIR = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r'["\\]')
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

# The pieces of a From field. A display name outside quotes may hold dots and anything beyond ASCII,
# but none of the characters that could make another reader see a second address in it.
_PIECE = re.compile(
    r'(?P<space>[ \t]+)|(?P<quoted>"(?:[^"\\]|\\.)*")|<(?P<angle>[^<>]*)>|(?P<at>@)'
    rf"|(?P<text>(?:{_ATEXT}|[.\x80-\U0010ffff])+)"
)
_ENCODED_WORDS = re.compile(
    r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=(?:[ \t]+=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=)*"
)


class AddressError(ValueError):
    """No address that we accept; the text says why, for the eyes of whoever wrote it.

    It is `words` with `values` put in: other languages have words of their own.
    """

    def __init__(self, words: str, **values: str) -> None:
        super().__init__(words % values if values else words)
        self.words = words
        self.values = values


class Mailbox(NamedTuple):
    """One mailbox; `display_name` is decoded, "" if there is none; `address` is normalised."""

    display_name: str
    address: str


def normalise_address(address: str, *, smtputf8: bool = False) -> str:
    """The one spelling under which an address is compared and stored. Raises AddressError.

    The domain becomes lower-case A-labels (IDNA 2008; look-alike characters are not mapped but
    refused). The local part becomes lower case: RFC 5321 2.4 lets its owner tell "A" from "a", our
    directory does not, as no mail provider does today. Quotes that are not needed go. A local part
    beyond ASCII is taken with `smtputf8` only, and must be `is_unambiguous`.
    """
    local, domain = split_address(address)
    plain = _folded_utf8(local) if smtputf8 and not local.isascii() else _plain_local(local).lower()
    ascii_domain = _ascii_domain(domain)
    _check_length(plain, ascii_domain)
    return f"{plain}@{ascii_domain}"


def split_address(address: str) -> tuple[str, str]:
    """Local part and domain as written, neither of them empty. Raises AddressError."""
    local, at, domain = address.strip(" \t").rpartition("@")
    if not (local and at and domain):
        raise AddressError("An address has the form name@example.com")
    return local, domain


def parse_path(raw: bytes) -> tuple[str, bytes]:
    """The address that follows `MAIL FROM:` or `RCPT TO:`, and the parameters behind it.

    "" for the null path. The local part keeps its spelling, the domain becomes lower-case A-labels.
    Source routes (RFC 5321 appendix C) are refused. Raises AddressError. May return a local part
    beyond ASCII: whether the client may write one, its MAIL says, behind the path.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise AddressError("What is beyond ASCII in an address must be UTF-8") from None
    match = _PATH.match(text) or _UTF8_PATH.match(text)
    if not match or not match[0].isprintable():
        raise AddressError("Write one address between < and >, without a route")
    rest = raw[len(match[0].encode()) :]
    if rest[:1] not in (b"", b" "):
        raise AddressError("A space is missing behind the address")
    if match["local"] is None:
        return "", rest.strip(b" ")
    domain = _path_domain(match)
    _check_length(match["local"], domain)
    return f"{match['local']}@{domain}", rest.strip(b" ")


def _path_domain(match: re.Match[str]) -> str:
    if match["domain"] is not None:
        return _ascii_domain(match["domain"])
    return f"[{_checked_literal(match['literal'])}]"


def parse_from(body: bytes, *, smtputf8: bool = False) -> Mailbox:
    """The one mailbox of a From field, from what stands behind its colon. Raises AddressError.

    Refused: groups, lists, routes, comments or encoded words inside the address, control
    characters, and with no `smtputf8` an address beyond ASCII.
    """
    text = re.sub(r"\r\n(?=[ \t])", "", body.decode("utf-8", "replace")).strip(" \t\r\n")
    if _CONTROL.search(text):
        raise AddressError("It holds control characters")
    pieces = _pieces(text)
    angles = [number for number, (kind, _) in enumerate(pieces) if kind == "angle"]
    if angles:
        return _angle_mailbox(pieces, angles, smtputf8=smtputf8)
    return _bare_mailbox(pieces, smtputf8=smtputf8)


def _angle_mailbox(pieces: list[tuple[str, str]], angles: list[int], *, smtputf8: bool) -> Mailbox:
    where = angles[0]
    behind = [kind for kind, _ in pieces[where + 1 :]]
    if len(angles) > 1 or not set(behind) <= {"space", "comment"}:
        raise AddressError("It holds more than one address, or text behind the address")
    if any(kind == "at" for kind, _ in pieces[:where]):
        raise AddressError(
            'A name with an @ in it has to stand between quotes, as in "name@example.com"'
        )
    address = _from_address(pieces[where][1].strip(" \t"), smtputf8=smtputf8)
    return Mailbox(_display_name(pieces[:where]), address)


def _bare_mailbox(pieces: list[tuple[str, str]], *, smtputf8: bool) -> Mailbox:
    """An address without angle brackets; its name may stand in a comment, as it once did."""
    core = list(pieces)
    around: list[tuple[str, str]] = []
    while core and core[0][0] in ("space", "comment"):
        around.append(core.pop(0))
    while core and core[-1][0] in ("space", "comment"):
        around.append(core.pop())
    address = _from_address(
        "".join(f"({value})" if kind == "comment" else value for kind, value in core),
        smtputf8=smtputf8,
    )
    names = [value for kind, value in around if kind == "comment"]
    return Mailbox(_tidy(_decode(names[0])) if names else "", address)


def _pieces(text: str) -> list[tuple[str, str]]:
    """(kind, value) of each piece; kinds: space, quoted, angle, at, text, comment."""
    pieces = []
    position = 0
    while position < len(text):
        if text[position] == "(":
            end = _comment_end(text, position)
            pieces.append(("comment", text[position + 1 : end - 1]))
            position = end
            continue
        match = _PIECE.match(text, position)
        if not match:
            raise AddressError(
                "One address is allowed. A name with %(character)s in it has to stand between "
                "quotes",
                character=repr(text[position]),
            )
        kind = match.lastgroup or ""
        pieces.append((kind, match[kind]))
        position = match.end()
    return pieces


def _comment_end(text: str, start: int) -> int:
    depth = 0
    position = start
    while position < len(text):
        character = text[position]
        depth += (character == "(") - (character == ")")
        position += 2 if character == "\\" else 1
        if depth == 0:
            return min(position, len(text))
    raise AddressError("A parenthesis is not closed")


def _display_name(pieces: list[tuple[str, str]]) -> str:
    words = []
    run = ""
    for kind, value in [*pieces, ("quoted", '""')]:
        if kind in ("text", "space"):
            run += value
        elif kind == "quoted":
            words += [_decode(run), _QUOTED_PAIR.sub(r"\1", value[1:-1])]
            run = ""
    return _tidy(" ".join(words))


def _decode(text: str) -> str:
    """`text` with its encoded words (RFC 2047) read; one that cannot be read stays as it is."""
    return _ENCODED_WORDS.sub(lambda match: _decode_words(match[0]), text)


def _decode_words(words: str) -> str:
    try:
        parts = decode_header(words)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in parts
        )
    except (HeaderParseError, LookupError, ValueError):
        return words


def _tidy(name: str) -> str:
    return " ".join(_CONTROL.sub(" ", name).split())


def _from_address(text: str, *, smtputf8: bool) -> str:
    if not (_UTF8_ADDR_SPEC if smtputf8 else _ADDR_SPEC).fullmatch(text):
        raise AddressError("The address has to have the form name@example.com")
    if "=?" in text:
        raise AddressError("An encoded word (=?...?=) cannot stand in an address")
    return normalise_address(text, smtputf8=smtputf8)


def _plain_local(local: str) -> str:
    if not re.fullmatch(_LOCAL, local):
        raise AddressError("The part before the @ holds characters that cannot stand there")
    if local.startswith('"'):
        inner = _QUOTED_PAIR.sub(r"\1", local[1:-1])
        if _DOT_ATOM.fullmatch(inner):
            return inner
        escaped = _TO_ESCAPE.sub(r"\\\g<0>", inner)
        return f'"{escaped}"'
    return local


def _folded_utf8(local: str) -> str:
    # Between quotes ASCII is enough: nobody gives out such addresses.
    if not re.fullmatch(_UTF8_LOCAL, local) or local.startswith('"') or not is_unambiguous(local):
        raise AddressError("The part before the @ could be taken for another address")
    return fold(local)


def _ascii_domain(domain: str) -> str:
    # The Kelvin sign and its like would become plain letters in lower case.
    if not (domain.isascii() or unicodedata.is_normalized("NFC", domain)):
        raise AddressError("The domain holds characters that cannot stand in one")
    lowered = domain.lower()
    try:
        # Plain ASCII labels need no IDNA, which forbids some that exist (two hyphens in third
        # place).
        labels = lowered.split(".")
        if not lowered.isascii() or any(label.startswith("xn--") for label in labels):
            lowered = idna.encode(lowered, strict=True).decode("ascii")
    except idna.IDNAError:
        raise AddressError("The domain holds characters that cannot stand in one") from None
    if not re.fullmatch(_DOMAIN, lowered) or len(lowered) > 253:
        raise AddressError("The part behind the @ is not a domain such as example.com")
    return lowered


def _checked_literal(literal: str) -> str:
    tag, colon, rest = literal.partition(":")
    try:
        if colon and tag.lower() == "ipv6":
            return f"IPv6:{IPv6Address(rest)}"
        return str(IPv4Address(literal))
    except AddressValueError:
        raise AddressError("The part between [ and ] is not an IP address") from None


def _check_length(local: str, domain: str) -> None:
    octets = len(local if local.isascii() else local.encode())
    if octets > MAX_LOCAL_PART or octets + 1 + len(domain) > MAX_ADDRESS:
        raise AddressError("The address is too long")

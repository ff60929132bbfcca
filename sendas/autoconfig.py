"""The file in which a domain tells mail programs their settings, as Thunderbird reads it."""

from collections.abc import Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from smtp.address import split_address
from smtp.target import Security

_SECURITY = {"SSL": Security.SSL, "STARTTLS": Security.STARTTLS}
_PASSWORD = {"password-cleartext", "plain"}  # the second is an old name of the first


class AutoconfigError(ValueError):
    """The document is no such file, or holds what such a file never needs."""


class PublishedServer(NamedTuple):
    """One submission server with encryption. `takes_password`: else only OAuth and the like."""

    host: str
    port: int
    security: Security
    username: str
    takes_password: bool


def read_servers(document: bytes, address: str) -> list[PublishedServer]:
    """The servers that take mail from `address`, in the file's order. Raises AutoconfigError."""
    return list(_servers(_parse(document), address))


def _servers(root: Element, address: str) -> Iterator[PublishedServer]:
    for entry in root.iterfind("./emailProvider/outgoingServer[@type='smtp']"):
        security = _SECURITY.get(_text(entry, "socketType"))
        host, port = _text(entry, "hostname").lower(), _text(entry, "port")
        if security and host and port.isascii() and port.isdecimal() and len(port) <= 5:
            ways = {(way.text or "").strip() for way in entry.iterfind("authentication")}
            yield PublishedServer(
                host=_filled_in(host, address),
                port=int(port),
                security=security,
                username=_filled_in(_text(entry, "username") or address, address),
                takes_password=bool(ways & _PASSWORD),
            )


def _text(entry: Element, name: str) -> str:
    return (entry.findtext(name) or "").strip()


def _filled_in(text: str, address: str) -> str:
    local, domain = split_address(address)
    for placeholder, value in (
        ("%EMAILADDRESS%", address),
        ("%EMAILLOCALPART%", local),
        ("%EMAILDOMAIN%", domain),
    ):
        text = text.replace(placeholder, value).replace(placeholder.lower(), value)
    return text


def _parse(document: bytes) -> Element:
    """The document's tree. A document type is refused: without one there are no entities."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(document, True)  # noqa: FBT003 expat's own parameter: this is all
        return builder.close()
    except (expat.ExpatError, ParseError, LookupError) as error:
        raise AutoconfigError(str(error)) from None


def _refuse(*_declaration: object) -> None:
    raise AutoconfigError("a document type is of no use here")

"""Command lines (RFC 5321 4.1): verb and argument, and the parameters of MAIL and RCPT."""

import re
from typing import NamedTuple

from smtp.address import AddressError, parse_path
from smtp.reply import Reply
from smtp.session import Body, Envelope

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_CHUNK = re.compile(rb"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)
_BODIES: dict[str, Body] = {"7BIT": "7BIT", "8BITMIME": "8BITMIME"}


class CommandError(Exception):
    """The command cannot be taken; `reply` tells the client why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class Chunk(NamedTuple):
    """What `BDAT` announces: octets that follow its line, and whether they end the message."""

    size: int
    is_last: bool


class Command(NamedTuple):
    """`verb` is in upper case, whatever was sent; `argument` is stripped of spaces."""

    verb: str
    argument: bytes


def parse_command(line: bytes) -> Command:
    """Split a line without its CRLF."""
    verb, _, argument = line.partition(b" ")
    return Command(verb.decode("ascii", "replace").upper(), argument.strip(b" "))


def parse_mail(argument: bytes, *, message_size: int) -> Envelope:
    """The transaction that `MAIL` opens. Raises CommandError."""
    sender, parameters = _path(argument, b"FROM:")
    envelope = Envelope(sender)
    for name, value in parameters.items():
        if name == "SIZE":
            envelope.size = _size(value, message_size)
        elif name == "BODY":
            envelope.body = _body(value)
        elif name == "SMTPUTF8":
            envelope.smtputf8 = _flag(name, value)
        # RFC 4954 5: who offers AUTH must take AUTH=, and may ignore what it says.
        elif name != "AUTH":
            raise CommandError(Reply(555, "5.5.4", f"MAIL has no parameter {name} here"))
    _check_asked(argument, smtputf8=envelope.smtputf8)
    return envelope


def parse_rcpt(argument: bytes, *, smtputf8: bool) -> str:
    """The recipient that `RCPT` names. Raises CommandError."""
    recipient, parameters = _path(argument, b"TO:")
    _check_asked(argument, smtputf8=smtputf8)
    if not recipient:
        raise CommandError(Reply(553, "5.1.3", "A recipient needs an address"))
    if parameters:
        raise CommandError(
            Reply(555, "5.5.4", f"RCPT has no parameter {next(iter(parameters))} here")
        )
    return recipient


def parse_bdat(argument: bytes) -> Chunk:
    """The chunk that `BDAT` announces (RFC 3030 2). Raises CommandError."""
    match = _CHUNK.fullmatch(argument)
    if not match:
        raise CommandError(
            Reply(501, "5.5.4", "Write BDAT, a number of octets, and LAST at the end")
        )
    return Chunk(int(match[1]), match[2] is not None)


def _check_asked(argument: bytes, *, smtputf8: bool) -> None:
    """An address beyond ASCII has to be asked for (RFC 6531 3.4); parameters are ASCII anyway."""
    if not smtputf8 and not argument.isascii():
        raise CommandError(
            Reply(553, "5.6.7", "Addresses beyond ASCII need SMTPUTF8 behind MAIL FROM")
        )


def _path(argument: bytes, keyword: bytes) -> tuple[str, dict[str, str]]:
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(Reply(501, "5.5.4", f"Write {keyword.decode()}<name@example.com>"))
    try:
        address, rest = parse_path(argument[len(keyword) :].lstrip(b" "))
    except AddressError as error:
        raise CommandError(Reply(553, "5.1.3", str(error))) from None
    return address, _parameters(rest.decode("latin-1"))


def _parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if not match or match[1].upper() in parameters:
            raise CommandError(Reply(501, "5.5.4", "A parameter is written wrong or given twice"))
        parameters[match[1].upper()] = match[2] or ""
    return parameters


def _size(value: str, limit: int) -> int:
    # RFC 1870 3 allows 20 digits.
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise CommandError(Reply(501, "5.5.4", "SIZE needs a number of octets"))
    if int(value) > limit:
        raise CommandError(
            Reply(552, "5.3.4", f"This server takes messages of up to {limit} octets")
        )
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value:
        raise CommandError(Reply(501, "5.5.4", f"{name} takes no value"))
    return True


def _body(value: str) -> Body:
    if value.upper() not in _BODIES:
        raise CommandError(Reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME"))
    return _BODIES[value.upper()]

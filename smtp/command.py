"""Command lines (RFC 5321 4.1): verb and argument, and the parameters of MAIL and RCPT."""

import re
from typing import NamedTuple

from smtp.address import AddressError, parse_path
from smtp.reply import Reply
from smtp.session import Body, Envelope

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_BODIES: dict[str, Body] = {"7BIT": "7BIT", "8BITMIME": "8BITMIME"}


class CommandError(Exception):
    """The command cannot be taken; `reply` tells the client why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


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
            raise CommandError(
                Reply(554, "5.6.7", "SMTPUTF8 is not offered: write addresses in ASCII")
            )
        # RFC 4954 5: who offers AUTH must take AUTH=, and may ignore what it says.
        elif name != "AUTH":
            raise CommandError(Reply(555, "5.5.4", f"MAIL has no parameter {name} here"))
    return envelope


def parse_rcpt(argument: bytes) -> str:
    """The recipient that `RCPT` names. Raises CommandError."""
    recipient, parameters = _path(argument, b"TO:")
    if not recipient:
        raise CommandError(Reply(553, "5.1.3", "A recipient needs an address"))
    if parameters:
        raise CommandError(
            Reply(555, "5.5.4", f"RCPT has no parameter {next(iter(parameters))} here")
        )
    return recipient


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


def _body(value: str) -> Body:
    if value.upper() not in _BODIES:
        raise CommandError(Reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME"))
    return _BODIES[value.upper()]

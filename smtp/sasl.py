"""The two SASL mechanisms in use: PLAIN (RFC 4616) and LOGIN, as server and as client."""

import base64
import binascii
from collections.abc import Callable

MECHANISMS = ("PLAIN", "LOGIN")
_USERNAME_PROMPT = b"Username:"
_PASSWORD_PROMPT = b"Password:"


class SaslError(ValueError):
    """The client's answer is not of the mechanism's form. Holds nothing of the answer."""


class PlainExchange:
    """The server's side of PLAIN; `step` takes the client's answers until `credentials` is set."""

    credentials: tuple[str, str] | None = None

    def step(self, answer: bytes | None) -> bytes:
        """The next challenge, not yet encoded; None opens an exchange without initial response."""
        if answer is None:
            return b""
        identity, username, password = _split_plain(answer)
        if identity not in ("", username):
            raise SaslError("PLAIN cannot act for another identity")
        self.credentials = username, password
        return b""


class LoginExchange:
    """The server's side of LOGIN, which has no RFC of its own: two prompts, two answers."""

    credentials: tuple[str, str] | None = None

    def __init__(self) -> None:
        self._username: str | None = None

    def step(self, answer: bytes | None) -> bytes:
        """The next challenge, not yet encoded; None opens an exchange without initial response."""
        if answer is None:
            return _USERNAME_PROMPT
        if self._username is None:
            self._username = _text(answer)
            return _PASSWORD_PROMPT
        self.credentials = self._username, _text(answer)
        return b""


Exchange = PlainExchange | LoginExchange
EXCHANGES: dict[str, Callable[[], Exchange]] = {"PLAIN": PlainExchange, "LOGIN": LoginExchange}


def decode(answer: bytes) -> bytes:
    """One base64 answer of a client; "=" is the empty one (RFC 4954 4). Raises SaslError."""
    if answer == b"=":
        return b""
    try:
        return base64.b64decode(answer, validate=True)
    except binascii.Error:
        raise SaslError("The answer is not base64") from None


def encode(text: bytes) -> bytes:
    """A challenge or answer for the wire."""
    return base64.b64encode(text)


def plain_response(username: str, password: str) -> bytes:
    """The one answer of PLAIN, encoded."""
    return encode(f"\0{username}\0{password}".encode())


def login_responses(username: str, password: str) -> tuple[bytes, bytes]:
    """The two answers of LOGIN, encoded."""
    return encode(username.encode()), encode(password.encode())


def _split_plain(answer: bytes) -> tuple[str, str, str]:
    parts = answer.split(b"\0")
    if len(parts) != 3:
        raise SaslError("PLAIN needs three parts")
    identity, username, password = parts
    return (_text(identity) if identity else "", _text(username), _text(password))


def _text(answer: bytes) -> str:
    try:
        text = answer.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("The answer is not UTF-8") from None
    if not text or "\0" in text:
        raise SaslError("The user name or the password is empty")
    return text

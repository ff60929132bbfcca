"""SMTP replies, ours and those of other servers (RFC 5321 4.2, RFC 2034, RFC 3463)."""

import re
from typing import NamedTuple

# RFC 5321 4.5.3.1.5 asks for 512 octets; other servers write more, so reading is more generous than
# writing.
MAX_LINE_OUT = 512
MAX_LINE_IN = 4_096
MAX_LINES_IN = 128
MAX_BYTES_IN = 32_768

_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: +|$)")
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class ReplyError(ValueError):
    """What the other side wrote is no SMTP reply, or is larger than any reply needs to be."""


class Reply(NamedTuple):
    """One reply; `enhanced` may be "", `text` may hold several lines parted by "\\n"."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    @property
    def is_positive(self) -> bool:
        """2xx and 3xx."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """4xx: the same may be tried again later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5xx: trying the same again will not help."""
        return self.code >= 500

    def encode(self) -> bytes:
        """The lines for the wire: what may not stand there becomes "?", long ones are cut."""
        lines = self.text.split("\n")
        head = f"{self.enhanced} " if self.enhanced else ""
        last = len(lines) - 1
        return b"".join(
            _encode_line(f"{self.code}{' ' if number == last else '-'}{head}{line}")
            for number, line in enumerate(lines)
        )


def _encode_line(line: str) -> bytes:
    plain = _UNPRINTABLE.sub("?", line).encode("ascii", "replace")
    return plain[: MAX_LINE_OUT - 2] + b"\r\n"


class ReplyParser:
    """Turns the bytes of another server into replies, holding at most `MAX_BYTES_IN`."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self._code = 0
        self._size = 0

    @property
    def is_pending(self) -> bool:
        """Whether a part of a reply has arrived."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies completed by `data`.

        Bad UTF-8 is replaced and a bare LF ends a line, for neither can do harm here. Raises
        ReplyError.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE_IN:
            raise ReplyError("a line of the reply is too long")
        return [reply for line in lines if (reply := self._take(line))]

    def _take(self, raw: bytes) -> Reply | None:
        code, is_last, text = _split_line(raw)
        self._size += len(raw)
        if self._lines and code != self._code:
            raise ReplyError("the lines of the reply carry different codes")
        if len(self._lines) >= MAX_LINES_IN or self._size > MAX_BYTES_IN:
            raise ReplyError("the reply is too long")
        self._code = code
        self._lines.append(text)
        if not is_last:
            return None
        lines, self._lines, self._size = self._lines, [], 0
        return _join_lines(code, lines)


def _split_line(raw: bytes) -> tuple[int, bool, str]:
    if len(raw) > MAX_LINE_IN:
        raise ReplyError("a line of the reply is too long")
    line = raw.decode("utf-8", "replace").rstrip("\r")
    match = _LINE.fullmatch(line)
    if not match:
        raise ReplyError("the line is no SMTP reply")
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", match[3] or "")
    return int(match[1]), match[2] != "-", text


def _join_lines(code: int, lines: list[str]) -> Reply:
    enhanced = ""
    texts = []
    for line in lines:
        # An enhanced code of another class than the reply's is not one (RFC 2034 4): it stays text.
        if (match := _ENHANCED.match(line)) and match[1][0] == str(code)[0]:
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        texts.append(line.strip())
    return Reply(code, enhanced, "\n".join(texts))

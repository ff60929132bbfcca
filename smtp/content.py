"""Reading what follows DATA: where it ends, and that nobody else could think it ends elsewhere.

Works on whole chunks with methods of `bytes`, each of which looks at all octets in one go.
"""

from io import IncrementalNewlineDecoder
from typing import Self

from smtp.reply import Reply
from smtp.session import Limits

_END = b"\r\n.\r\n"
HEADER_TOO_LARGE = Reply(552, "5.3.4", "The header of the message is too large")
MESSAGE_TOO_LARGE = Reply(552, "5.3.4", "The message is larger than this server takes")


class BareLineError(Exception):
    """A NUL, or a CR or LF that stands alone (RFC 5321 2.3.8, 4.1.1.4).

    Servers that read such a byte as a line's end find commands where we saw text, so nothing behind
    it is trusted.
    """


class ContentReader:
    """One message's content, from the chunks as they arrive.

    `header` is the header block with its empty line, once complete; `feed` returns the content
    behind it as on the wire. `refusal` is set when the content breaks a limit; from then on it is
    only searched for its end.
    """

    def __init__(self, *, header_size: int, message_size: int) -> None:
        self.header: bytes | None = None
        self.refusal: Reply | None = None
        self.ended = False
        self.size = 0
        self.rest = b""
        self._header_size = header_size
        self._message_size = message_size
        self._held = b""
        self._at_line_start = True
        self._head = bytearray()

    @classmethod
    def within(cls, limits: Limits) -> Self:
        """A reader with a server's limits."""
        return cls(header_size=limits.header_size, message_size=limits.message_size)

    @property
    def waits(self) -> bool:
        """Whether all that was announced has come, and more must follow: only chunks are so."""
        return False

    def feed(self, data: bytes) -> bytes:
        """The body bytes that `data` completes.

        Sets `ended`, and `rest` to what lies behind the final dot. Raises BareLineError.
        """
        return self._take(self._cut(self._held + data if self._held else data))

    def _take(self, content: bytes) -> bytes:
        if b"\0" in content or _has_bare_line_end(content):
            raise BareLineError
        self.size += len(content)
        if self.size > self._message_size:
            self.refuse(MESSAGE_TOO_LARGE)
        if self.refusal:
            return b""
        return content if self.header is not None else self._split_header(content)

    def refuse(self, reply: Reply) -> None:
        """Drop what has been kept and what is to come; the first reason stands."""
        self.refusal = self.refusal or reply
        self._head.clear()

    def _cut(self, data: bytes) -> bytes:
        """`data` up to the final dot line, without what may be the beginning of one."""
        if self._at_line_start and data.startswith(_END[2:]):
            end = 0
        # One octet is found much faster than five, and what is large is base64, without a dot.
        elif b"." not in data or (end := data.find(_END) + 2) < 2:
            return self._hold_back(data)
        self.ended = True
        self.rest = data[end + 3 :]
        return data[:end]

    def _hold_back(self, data: bytes) -> bytes:
        keep = _held_length(data, at_line_start=self._at_line_start)
        content = data[: len(data) - keep]
        self._held = data[len(content) :]
        if content:
            self._at_line_start = content.endswith(b"\n")
        return content

    def _split_header(self, content: bytes) -> bytes:
        searched = max(0, len(self._head) - 3)
        self._head += content
        end = self._header_end(searched)
        if (len(self._head) if end is None else end) > self._header_size:
            self.refuse(HEADER_TOO_LARGE)
        elif end is not None:
            self.header, body = bytes(self._head[:end]), bytes(self._head[end:])
            self._head.clear()
            return body
        return b""

    def _header_end(self, searched: int) -> int | None:
        if self._head.startswith(b"\r\n"):
            return 2
        if (found := self._head.find(b"\r\n\r\n", searched)) >= 0:
            return found + 4
        return len(self._head) if self.ended else None


def without_dots(content: bytes) -> bytes:
    """Whole content in the form of DATA as it was before dot-stuffing (RFC 5321 4.5.2).

    With the CRLF that the final dot line would have begun with, where its last line lacks it.
    """
    plain = content.replace(b"\r\n.", b"\r\n")
    if plain.startswith(b"."):
        plain = plain[1:]
    return plain if plain.endswith(b"\r\n") else plain + b"\r\n"


def _has_bare_line_end(content: bytes) -> bool:
    """Whether a CR or LF stands alone.

    Python's decoder of text files notes which line ends it has seen, in one pass and with nothing
    to be put together: less than half of the time that splitting or counting takes.
    """
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(content.decode("latin-1"), final=True)
    return seen.newlines not in ("\r\n", None)


def _held_length(data: bytes, *, at_line_start: bool) -> int:
    """How many bytes at the end of `data` could begin a final dot line, or be half a CRLF."""
    for tail in (b".\r", b"."):
        if data.endswith(b"\r\n" + tail) or (at_line_start and data == tail):
            return len(tail)
    return 1 if data.endswith(b"\r") else 0

"""Cutting command lines out of what has arrived (RFC 5321 2.3.8)."""

from smtp.reply import Reply

_TOO_LONG = Reply(500, "5.5.2", "The line is too long")
_BARE = Reply(500, "5.5.2", "Lines end with CRLF, and CR, LF and NUL stand nowhere else")


class LineError(Exception):
    """The line cannot be taken, and neither can what follows it; `reply` tells the client why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


def cut_line(buffer: bytearray, limit: int) -> bytes | None:
    """Take the first line off `buffer`, without its CRLF; None if it is not complete.

    `limit` is its length in octets, CRLF included. Raises LineError.
    """
    end = buffer.find(b"\n", 0, limit) + 1
    if not end:
        if len(buffer) >= limit:
            raise LineError(_TOO_LONG)
        return None
    line = bytes(buffer[:end])
    del buffer[:end]
    if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
        raise LineError(_BARE)
    return line[:-2]

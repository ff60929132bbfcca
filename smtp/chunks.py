"""Reading what BDAT brings (RFC 3030): its length is announced, and no dot means anything in it.

BINARYMIME is not offered, so the same bytes are forbidden as behind DATA. What is read is brought
into the form of DATA, for it leaves by DATA.
"""

from smtp.command import Chunk
from smtp.content import BareLineError, ContentReader


class ChunkReader(ContentReader):
    """The chunks of one message: `expect` one, then `feed` it, up to the one that is the last."""

    def __init__(self, *, header_size: int, message_size: int) -> None:
        super().__init__(header_size=header_size, message_size=message_size)
        self._left = 0
        self._is_last = False

    @property
    def waits(self) -> bool:
        """The chunk is complete, and is not the last."""
        return not self._left and not self.ended

    def expect(self, chunk: Chunk) -> None:
        """Announce what `feed` will get."""
        self._left, self._is_last = chunk

    def feed(self, data: bytes) -> bytes:
        """The body bytes that `data` completes, dot-stuffed; `rest` is what lies behind the chunk.

        Raises BareLineError.
        """
        chunk, self.rest = data[: self._left], data[self._left :]
        self._left -= len(chunk)
        body = self._take(self._stuff(self._held + chunk))
        if self._left or not self._is_last:
            return body
        if self._held:
            raise BareLineError
        self.ended = True
        # The header block may end only here, if there is no body.
        return body if self.header is not None else self._take(b"")

    def _stuff(self, data: bytes) -> bytes:
        """Double the dots that begin lines (RFC 5321 4.5.2); keeps back half a CRLF."""
        self._held = b"\r" if data.endswith(b"\r") else b""
        content = data[: len(data) - len(self._held)]
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and content.startswith(b"."):
            stuffed = b"." + stuffed
        if content:
            self._at_line_start = content.endswith(b"\n")
        return stuffed

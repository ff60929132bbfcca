"""One message as it arrives: checked, its header read, its body handed to the handler's sink."""

from collections.abc import Awaitable, Callable

from smtp.content import ContentReader
from smtp.header import HeaderBlock, HeaderError
from smtp.reply import Reply
from smtp.session import Envelope, Limits, MessageSink
from smtp.transfer import Transfer

Begin = Callable[[Envelope, HeaderBlock], Awaitable[MessageSink | Reply]]


class IncomingMessage:
    """From DATA to the final dot, or from the first BDAT to the last.

    `transfer` is there once the header block is complete and plain. A message without one has been
    refused before the handler heard of it; see `refusal`.
    """

    def __init__(
        self,
        envelope: Envelope,
        limits: Limits,
        reader: ContentReader,
        *,
        begin: Begin,
        pause: Callable[[], None],
        resume: Callable[[], None],
        on_fault: Callable[[Exception], Reply],
    ) -> None:
        self.envelope = envelope
        self.transfer: Transfer | None = None
        self._reader = reader
        self._limit = limits.message_size
        self._begin = begin
        self._pause = pause
        self._resume = resume
        self._on_fault = on_fault

    @property
    def refusal(self) -> Reply | None:
        return self._reader.refusal

    @property
    def has_ended(self) -> bool:
        return self._reader.ended

    @property
    def waits(self) -> bool:
        """Whether a chunk is complete that was not the last."""
        return self._reader.waits

    @property
    def verdict(self) -> Reply | None:
        """Why the message has failed, as far as is known before its end."""
        return self.refusal or (self.transfer.refusal if self.transfer else None)

    @property
    def is_far_too_large(self) -> bool:
        """Whether even reading it to its end would be too much."""
        return self._reader.size > 2 * self._limit

    @property
    def size(self) -> int:
        """Octets so far, header and body."""
        return self._reader.size

    @property
    def rest(self) -> bytes:
        """What has arrived behind the final dot, or the chunk."""
        return self._reader.rest

    def feed(self, data: bytes) -> None:
        """More from the client. Raises BareLineError."""
        body = self._reader.feed(data)
        if self.transfer is None and self._reader.header is not None and not self.refusal:
            self._open(self._reader.header)
        if self.transfer is None:
            return
        self.transfer.feed(body)
        if self.refusal:
            self.transfer.refuse(self.refusal)
        if self.has_ended:
            self.transfer.end()

    def lose(self) -> None:
        """The client is gone, or no longer listened to."""
        if self.transfer:
            self.transfer.lose()

    def _open(self, raw: bytes) -> None:
        try:
            header = HeaderBlock.parse(raw)
        except HeaderError as error:
            self._reader.refuse(Reply(554, "5.6.0", str(error)))
            return
        self.transfer = Transfer(
            lambda: self._begin(self.envelope, header),
            pause=self._pause,
            resume=self._resume,
            on_fault=self._on_fault,
        )

"""One message on its way from the client to the handler's sink: one task, bounded memory."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from smtp.reply import Reply
from smtp.session import MessageSink

# One read of a busy TLS connection may bring as much again. With many large messages at once most
# of the service's memory lies here and in TLS.
HIGH_WATER = 65_536


class ClientGoneError(Exception):
    """The client went away before its final dot."""


class Transfer:
    """Takes chunks without waiting (`feed`), hands them over one by one (`run`).

    `pause` and `resume` stop and start reading from the client, so that at most `HIGH_WATER` and
    one chunk is held. `on_fault` turns what the handler raises into the reply that stands for it.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[MessageSink | Reply]],
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        on_fault: Callable[[Exception], Reply],
    ) -> None:
        self._begin = begin
        self._pause = pause
        self._resume = resume
        self._on_fault = on_fault
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._gone = False
        self._refusal: Reply | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def refusal(self) -> Reply | None:
        """Why the message has failed already, if so."""
        return self._refusal

    def feed(self, chunk: bytes) -> None:
        """More content; dropped once the message has failed."""
        if self._refusal or not chunk:
            return
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held > HIGH_WATER:
            self._pause()
        self._wake()

    def end(self) -> None:
        """The final dot has arrived."""
        self._ended = True
        self._wake()

    def refuse(self, reply: Reply) -> None:
        """The content cannot be taken; `run` returns `reply` when the client has sent all."""
        self._refusal = self._refusal or reply
        self._wake()

    def lose(self) -> None:
        """The client is gone. A message whose final dot had arrived is carried on all the same."""
        self._gone = True
        self._wake()

    async def run(self) -> Reply:
        """What the client hears once it has sent all. Raises ClientGoneError."""
        sink: MessageSink | None = None
        try:
            opened = await self._begin()
            if isinstance(opened, Reply):
                refusal = opened
            else:
                sink = opened
                verdict = await self._carry(sink)
                if verdict is None:
                    reply = await sink.finish()
                    sink = None
                    return reply
                refusal = verdict
        except ClientGoneError:
            raise
        except Exception as error:  # a fault of the handler's must not become a silent connection
            refusal = self._on_fault(error)
        finally:
            if sink:
                await self._abort(sink)
        return await self._drop_rest(refusal)

    async def _carry(self, sink: MessageSink) -> Reply | None:
        """Hand over everything up to the final dot; the reason, if that cannot be done."""
        while True:
            if self._refusal:
                return self._refusal
            if self._gone and not self._ended:
                raise ClientGoneError
            if self._chunks:
                if verdict := await sink.write(self._take()):
                    return verdict
            elif self._ended:
                return None
            else:
                await self._wait()

    async def _abort(self, sink: MessageSink) -> None:
        try:
            await sink.abort()
        except Exception as error:  # the message has failed already, for a reason that matters more
            self._on_fault(error)

    async def _drop_rest(self, refusal: Reply) -> Reply:
        self._refusal = self._refusal or refusal
        self._chunks.clear()
        self._held = 0
        self._resume()
        while not self._ended:
            if self._gone:
                raise ClientGoneError
            await self._wait()
        return self._refusal

    def _take(self) -> bytes:
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        if not self._chunks:
            self._resume()
        return chunk

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

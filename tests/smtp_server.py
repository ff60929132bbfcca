"""Somebody else's SMTP server, by aiosmtpd, on an event loop of its own in a thread."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from threading import Thread

from aiosmtpd.smtp import SMTP


@contextlib.contextmanager
def serving(
    handler: object, *, port: int = 0, tls: ssl.SSLContext | None = None, **options: object
) -> Iterator[int]:
    """On that port of 127.0.0.1, or a free one: which. At the end nothing of it goes on.

    `tls`: from the start. `options` are those of aiosmtpd's SMTP.
    """
    loop = asyncio.new_event_loop()
    opened: list[SMTP] = []

    def session() -> SMTP:
        opened.append(SMTP(handler, loop=loop, **options))
        return opened[-1]

    async def start() -> asyncio.Server:
        return await loop.create_server(session, "127.0.0.1", port, ssl=tls)

    async def stop() -> None:
        server.close()
        for each in opened:
            if each.transport:
                each.transport.abort()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    thread = Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

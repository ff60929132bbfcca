"""A provider's mail server where several people sign in, and what each connection handed it."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Provider:
    """`kept`: for each message who had signed in (user name, password), envelope and content.

    `tried` holds each sign-in, taken or not.
    """

    passwords: set[tuple[str, str]]
    kept: list[tuple[tuple[str, str], str, bytes]] = field(default_factory=list)
    tried: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 aiosmtpd's name
        self, server: object, session: Session, envelope: Envelope
    ) -> str:
        self.kept.append((session.auth_data, envelope.mail_from, envelope.content))
        return "250 2.0.0 Kept"

    def authenticate(
        self, server: object, session: Session, envelope: Envelope, kind: str, sent: LoginPassword
    ) -> AuthResult:
        pair = sent.login.decode(), sent.password.decode()
        self.tried.append(pair)
        return AuthResult(success=pair in self.passwords, handled=False, auth_data=pair)


@contextlib.contextmanager
def provider(
    port: int, certificate: tuple[Path, Path], passwords: set[tuple[str, str]]
) -> Iterator[Provider]:
    """With TLS from the start, on an event loop of its own in a thread."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    kept = Provider(passwords)
    loop = asyncio.new_event_loop()

    opened: list[SMTP] = []

    def session() -> SMTP:
        opened.append(
            SMTP(kept, authenticator=kept.authenticate, auth_require_tls=False, loop=loop)
        )
        return opened[-1]

    async def start() -> asyncio.Server:
        return await loop.create_server(session, "127.0.0.1", port, ssl=tls)

    async def stop() -> None:
        server.close()
        for each in opened:
            if each.transport:
                each.transport.abort()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    thread = Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield kept
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

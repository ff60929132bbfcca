"""A provider's mail server where several people sign in, and what each connection handed it."""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.smtp_server import serving


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
    with serving(kept, port=port, tls=tls, authenticator=kept.authenticate, auth_require_tls=False):
        yield kept

"""The demo's two mail servers, independent of our own SMTP: they keep whatever they get.

`ours` is the organisation's relay: STARTTLS, no sign-in. `partner` is the outside provider:
STARTTLS, sign-in, and nobody sends there under another's address.
"""

import asyncio
import contextlib
import email.utils
import hmac
import itertools
import logging
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from config.certificates import keep_certificates
from config.demo_organisation import PARTNER_ADDRESS
from config.installation import LOOPBACK, Installation

SIZE_LIMIT = 40_000_000  # bytes
_numbers = itertools.count()


class DemoServer(SMTP):
    # The longest body line, in bytes; RFC 5321's 1,000 are exceeded by real mail.
    line_length_limit = 16_384


class Capture:
    """Keeps each message in a Maildir, its envelope and a Received line on top."""

    def __init__(self, maildir: Path, host_name: str) -> None:
        self._maildir = maildir
        self.host_name = host_name
        maildir.parent.mkdir(mode=0o700, exist_ok=True)
        for folder in ("tmp", "new", "cur"):
            (maildir / folder).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(  # noqa: N802 aiosmtpd's name
        self, _server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        name = f"{time.time_ns()}.P{os.getpid()}Q{next(_numbers)}.{self.host_name}"
        unfinished = self._maildir / "tmp" / name
        unfinished.write_bytes(self._top(name, session, envelope) + _content(envelope))
        unfinished.rename(self._maildir / "new" / name)
        return f"250 2.0.0 Kept as {name}"

    def _top(self, name: str, session: Session, envelope: Envelope) -> bytes:
        protocol = "ESMTPSA" if session.authenticated else "ESMTPS" if session.ssl else "ESMTP"
        lines = (
            f"X-Envelope-From: {envelope.mail_from or '<>'}",
            f"X-Envelope-To: {', '.join(envelope.rcpt_tos)}",
            f"Received: from {session.host_name} by {self.host_name}",
            f"\twith {protocol} id {name};",
            f"\t{email.utils.formatdate(localtime=True)}",
        )
        return "".join(f"{line}\r\n" for line in lines).encode()


class PartnerCapture(Capture):
    async def handle_MAIL(  # noqa: N802 aiosmtpd's name
        self,
        _server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        mail_options: list[str],
    ) -> str:
        # The null reverse-path of a read receipt names nobody (RFC 5321, 4.5.5).
        if address != "<>" and address.lower() != session.auth_data:
            return f"553 5.7.1 You are signed in as {session.auth_data}, not as {address}"
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 2.1.0 OK"


def _content(envelope: Envelope) -> bytes:
    content = envelope.original_content
    return content if content is not None else b""


Authenticator = Callable[[SMTP, Session, Envelope, str, LoginPassword], AuthResult]


def partner_authenticator(password: str) -> Authenticator:
    """Signs in PARTNER_ADDRESS with `password` and nobody else."""

    def authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, sent: LoginPassword
    ) -> AuthResult:
        known = sent.login.decode(errors="replace").lower() == PARTNER_ADDRESS
        right = hmac.compare_digest(sent.password, password.encode())
        if known and right:
            return AuthResult(success=True, auth_data=PARTNER_ADDRESS)
        return AuthResult(success=False, handled=False)

    return authenticate


@contextlib.asynccontextmanager
async def serve(installation: Installation) -> AsyncIterator[None]:
    """Both servers listen on loopback while the context is open."""
    # Four lines for each connection, the health checks' included.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    files = keep_certificates(installation.data_dir / "certificates")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.server, files.server_key)
    ours = Capture(installation.maildir("ours"), "mail.yourdomain.com")
    partner = PartnerCapture(installation.maildir("partner"), "smtp.partnerdomain.com")
    authenticate = partner_authenticator(installation.secrets().partner_password)

    def ours_session() -> SMTP:
        return _server(ours, tls)

    def partner_session() -> SMTP:
        return _server(partner, tls, authenticate)

    loop = asyncio.get_running_loop()
    port = installation.ports
    async with (
        await loop.create_server(ours_session, LOOPBACK, port["OUTGATE_DEMO_OURS_PORT"]),
        await loop.create_server(partner_session, LOOPBACK, port["OUTGATE_DEMO_PARTNER_PORT"]),
    ):
        yield


async def serve_until_told(installation: Installation) -> None:
    """Serve both until SIGTERM or SIGINT."""
    told = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, told.set)
    async with serve(installation):
        await told.wait()


def _server(
    handler: Capture, tls: ssl.SSLContext, authenticator: Authenticator | None = None
) -> SMTP:
    return DemoServer(
        handler,
        hostname=handler.host_name,
        tls_context=tls,
        require_starttls=True,
        auth_required=authenticator is not None,
        authenticator=authenticator,
        data_size_limit=SIZE_LIMIT,
        enable_SMTPUTF8=False,
        ident="Outgate demo",
    )

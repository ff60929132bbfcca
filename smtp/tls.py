"""TLS towards other servers: what is asked of them, and what their failures mean."""

import ssl
import time
from typing import NamedTuple

from smtp.failure import FailureKind

# OpenSSL's X509_V_ERR_ numbers.
_CERT_NOT_YET_VALID = 9
_CERT_HAS_EXPIRED = 10
_HOSTNAME_MISMATCH = 62
_IP_ADDRESS_MISMATCH = 64

_VERSION_REASONS = {
    "NO_PROTOCOLS_AVAILABLE",
    "NO_SHARED_CIPHER",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "VERSION_TOO_LOW",
}


# A resumed session shows no certificate: for so long the last one that was verified counts.
RESUMED_SECONDS = 3_600.0
_SESSIONS = 1_000  # names whose sessions are kept


class _Session(NamedTuple):
    tls: ssl.SSLSession
    verified_at: float


class ClientContext(ssl.SSLContext):
    """Resumes the TLS sessions it has verified (RFC 8446 2.2), each with the name it was for.

    A session says who the server is, never who we are: that, AUTH says anew on each connection.
    """

    def __init__(self, *_: object) -> None:
        self.resumed_seconds = RESUMED_SECONDS
        self._sessions: dict[str, _Session] = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002  (the signature is not ours)
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if session is None and isinstance(server_hostname, str):
            session = self._usable(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, tls: ssl.SSLObject) -> None:
        """To be called once the server has spoken: TLS 1.3 hands out sessions after a handshake."""
        host = tls.server_hostname
        # One that came of a resumed session would live on with nobody verified again.
        if host is None or tls.session_reused:
            return
        session = tls.session
        if session is None or not session.has_ticket:
            return
        self.forget(host)
        self._sessions[host] = _Session(session, time.monotonic())
        if len(self._sessions) > _SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def forget(self, host: str) -> None:
        """After a handshake that failed: the next one is a whole one."""
        self._sessions.pop(host, None)

    def _usable(self, host: str) -> ssl.SSLSession | None:
        known = self._sessions.get(host)
        if known and time.monotonic() - known.verified_at < self.resumed_seconds:
            return known.tls
        self.forget(host)
        return None


def client_tls_context(ca_file: str | None = None) -> ClientContext:
    """A context that verifies against the system's roots, and those in `ca_file` (PEM)."""
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


def check_context(context: ssl.SSLContext) -> None:
    """Raise ValueError for a context that would sign in to a server it has not verified."""
    if not context.check_hostname or context.verify_mode is not ssl.CERT_REQUIRED:
        raise ValueError("the TLS context must verify certificates and host names")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ValueError("the TLS context must ask for TLS 1.2 at least")


def classify(error: OSError) -> FailureKind | None:
    """What a failed handshake says about the server; None: it speaks no TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
            return FailureKind.CERTIFICATE_NAME
        if error.verify_code in (_CERT_HAS_EXPIRED, _CERT_NOT_YET_VALID):
            return FailureKind.CERTIFICATE_EXPIRED
        return FailureKind.CERTIFICATE_UNKNOWN
    if isinstance(error, ssl.SSLError) and error.reason in _VERSION_REASONS:
        return FailureKind.TLS_VERSION
    return None

"""TLS towards other servers: what is asked of them, and what their failures mean."""

import ssl

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


def client_tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """A context that verifies against the system's roots, and those in `ca_file` (PEM)."""
    context = ssl.create_default_context()
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

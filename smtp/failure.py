"""Why a message could not be handed to another server, in words that a program can act on."""

from enum import StrEnum

from smtp.reply import Reply


class FailureKind(StrEnum):
    """The reasons told apart; NO_PUBLIC_ADDRESS and NOT_A_MAIL_SERVER each stand for many.

    Telling "closed" from "silent", or "does not exist" from "is private", would let a user map our
    network.
    """

    NO_PUBLIC_ADDRESS = "no_public_address"
    PORT_NOT_ALLOWED = "port_not_allowed"
    NOT_A_MAIL_SERVER = "not_a_mail_server"
    TLS_NOT_OFFERED = "tls_not_offered"
    TLS_VERSION = "tls_version"
    CERTIFICATE_NAME = "certificate_name"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_UNKNOWN = "certificate_unknown"
    AUTH_NOT_OFFERED = "auth_not_offered"
    AUTH_REFUSED = "auth_refused"
    SENDER_REFUSED = "sender_refused"
    RECIPIENT_REFUSED = "recipient_refused"
    REFUSED = "refused"
    NOT_OFFERED = "not_offered"  # the message needs what the server has not announced
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"


class Step(StrEnum):
    """Where in the dialogue it happened."""

    POOL = "waiting for a connection"
    RESOLVE = "looking up the host"
    CONNECT = "connecting"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    TLS = "TLS handshake"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    FINAL_DOT = "final dot"
    OTHER = "other command"


class SmtpFailure(Exception):  # noqa: N818  (expected outcomes of talking to strangers)
    """One attempt came to nothing. Holds no credential, and is raised without a context that could.

    `reply` has the server's own words; those of `Step.GREETING` are its banner and not for users'
    eyes. `permanent` says whether the same attempt can ever succeed. Lost or timed out at
    `Step.FINAL_DOT`, the message may have been delivered all the same (RFC 1047).
    """

    def __init__(
        self,
        kind: FailureKind,
        step: Step,
        *,
        reply: Reply | None = None,
        recipient: str | None = None,
        permanent: bool | None = None,
    ) -> None:
        super().__init__(kind, step, reply, recipient)
        self.kind = kind
        self.step = step
        self.reply = reply
        self.recipient = recipient
        self.permanent = _is_permanent(kind, reply) if permanent is None else permanent

    def again(self) -> "SmtpFailure":
        """The same for another message, with a traceback of its own."""
        return SmtpFailure(
            self.kind,
            self.step,
            reply=self.reply,
            recipient=self.recipient,
            permanent=self.permanent,
        )

    def __str__(self) -> str:
        words = f"{self.kind} ({self.step})"
        if self.recipient:
            words += f" <{self.recipient}>"
        return f"{words}: {self.reply}" if self.reply else words


_PERMANENT = {
    FailureKind.PORT_NOT_ALLOWED,
    FailureKind.TLS_NOT_OFFERED,
    FailureKind.TLS_VERSION,
    FailureKind.CERTIFICATE_NAME,
    FailureKind.CERTIFICATE_EXPIRED,
    FailureKind.CERTIFICATE_UNKNOWN,
    FailureKind.AUTH_NOT_OFFERED,
}


def _is_permanent(kind: FailureKind, reply: Reply | None) -> bool:
    return reply.is_permanent if reply else kind in _PERMANENT

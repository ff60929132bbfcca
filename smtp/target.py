"""Which server to talk to, how, and as whom."""

from dataclasses import dataclass, field
from enum import StrEnum

from smtp import sasl
from smtp.reply import Reply


class Security(StrEnum):
    """How the connection is encrypted; with NONE a credential is sent in the clear."""

    NONE = "none"
    STARTTLS = "starttls"
    SSL = "ssl"


@dataclass(frozen=True)
class Server:
    """Where to connect; `host` is also the name that the certificate must carry."""

    host: str
    port: int
    security: Security


@dataclass(frozen=True)
class Credential:
    """What signs in; never shown by `repr`, and taken out of whatever the server answers."""

    username: str = field(repr=False)
    password: str = field(repr=False)

    def redact(self, reply: Reply) -> Reply:
        """The reply without the password, should the server have echoed it."""
        answers = sasl.login_responses(self.username, self.password)
        text = reply.text
        for secret in (
            sasl.plain_response(self.username, self.password).decode("ascii"),
            answers[1].decode("ascii"),
            self.password,
        ):
            text = text.replace(secret, "[hidden]") if secret else text
        return reply._replace(text=text)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds to wait (RFC 5321 4.5.3.2 allows more, but a mail program's user is waiting too)."""

    connect: float = 30.0
    command: float = 60.0
    content: float = 180.0
    final: float = 600.0

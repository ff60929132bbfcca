"""Which server to talk to, how, and as whom."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

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

    @cached_property
    def _secrets(self) -> list[str]:
        """The password in each form in which it is sent, the longest first."""
        _username, password = sasl.login_responses(self.username, self.password)
        plain = sasl.plain_response(self.username, self.password)
        forms = (plain.decode("ascii"), password.decode("ascii"), self.password)
        return [form for form in forms if form]

    def redact(self, reply: Reply) -> Reply:
        """The reply without the password, should the server have echoed it."""
        for secret in self._secrets:
            if secret in reply.text:
                reply = reply._replace(text=reply.text.replace(secret, "[hidden]"))
        return reply


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds to wait (RFC 5321 4.5.3.2 allows more, but a mail program's user is waiting too).

    `warm` is for how long a server that has answered is taken to be there still.
    """

    connect: float = 30.0
    command: float = 60.0
    content: float = 180.0
    final: float = 600.0
    warm: float = 1.0

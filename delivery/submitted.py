"""A message as a mail program hands it in, and what it hears whichever way the message goes."""

from typing import NamedTuple

from accounts.models import AppPassword
from delivery.log import Message
from delivery.trace import Trace
from smtp.header import HeaderBlock
from smtp.reply import Reply
from smtp.session import Envelope, Session

AWAY = Reply(451, "4.3.0", "Our database can't be reached. Nothing was sent. Try again shortly.")
REVOKED = Reply(
    550, "5.7.1", "This app password was revoked. Nothing was sent. Sign in with another one."
)


class Submission(NamedTuple):
    """One message on its way in: who hands it in, its envelope and its header block."""

    session: Session
    app_password: AppPassword
    envelope: Envelope
    header: HeaderBlock
    from_address: str
    trace: Trace

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the next server has to speak RFC 6531.

        Some programs ask for it with every message. One that is ASCII passes everywhere.
        """
        addresses = (self.envelope.sender, *self.envelope.recipients)
        return self.envelope.smtputf8 and not (
            self.header.is_ascii and all(address.isascii() for address in addresses)
        )

    def describe(self, account_address: str) -> Message:
        return Message(
            number=self.trace.number,
            user_id=self.app_password.user_id,
            account_address=account_address,
            from_address=self.from_address,
            message_id=self.header.message_id or "",
            recipients=self.envelope.recipients,
            size=self.envelope.size or 0,
        )


def protocol_of(submission: Submission) -> str:
    """What the client spoke, in the words of RFC 3848 and RFC 6531 section 4.3."""
    return "UTF8SMTPSA" if submission.envelope.smtputf8 else "ESMTPSA"

"""The lines that open a message, and what the answers to them mean."""

from dataclasses import dataclass

from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply

# What a server means by these at MAIL is not the sender's address.
_NOT_THE_SENDER = {421, 451, 452, 530, 552}


@dataclass(frozen=True)
class Line:
    """One command of a message's opening."""

    step: Step
    text: str
    recipient: str | None = None

    @property
    def encoded(self) -> bytes:
        return self.text.encode("ascii")

    def judge(self, reply: Reply) -> SmtpFailure | None:
        """None if the server agrees."""
        if reply.code == 354 if self.step is Step.DATA else 200 <= reply.code < 300:
            return None
        kind = FailureKind.REFUSED
        if self.step is Step.RCPT:
            kind = FailureKind.RECIPIENT_REFUSED
        elif self.step is Step.MAIL and reply.code not in _NOT_THE_SENDER:
            kind = FailureKind.SENDER_REFUSED
        return SmtpFailure(kind, self.step, reply=reply, recipient=self.recipient)


def path(address: str) -> str:
    """The address between angle brackets. ValueError for what could end the line early."""
    if not address.isascii() or (address and not address.isprintable()):
        raise ValueError("an envelope address is printable ASCII")
    return f"<{address}>"

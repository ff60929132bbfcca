"""The lines that open a message, and what the answers to them mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply
from smtp.session import Body

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
        return self.text.encode("utf-8")

    def judge(self, reply: Reply) -> SmtpFailure | None:
        """None if the server agrees."""
        if reply.code == 354 if self.step is Step.DATA else 200 <= reply.code < 300:
            return None
        if reply.is_positive:
            # A yes to something else: the two sides no longer speak of the same command.
            return SmtpFailure(FailureKind.CONNECTION_LOST, self.step)
        kind = FailureKind.REFUSED
        if self.step is Step.RCPT:
            kind = FailureKind.RECIPIENT_REFUSED
        elif self.step is Step.MAIL and reply.code not in _NOT_THE_SENDER:
            kind = FailureKind.SENDER_REFUSED
        return SmtpFailure(kind, self.step, reply=reply, recipient=self.recipient)


def opening(
    sender: str, recipients: Sequence[str], *, size: int | None, body: Body, smtputf8: bool
) -> list[Line]:
    """MAIL, RCPT and DATA. ValueError for an address that could end its line early."""
    mail = f"MAIL FROM:{_path(sender, smtputf8=smtputf8)}"
    if size is not None:
        mail += f" SIZE={size}"
    # Clients that send 8-bit content unannounced get no false BODY=7BIT written for them.
    if body == "8BITMIME":
        mail += " BODY=8BITMIME"
    if smtputf8:
        mail += " SMTPUTF8"
    return [
        Line(Step.MAIL, mail),
        *(
            Line(Step.RCPT, f"RCPT TO:{_path(name, smtputf8=smtputf8)}", name)
            for name in recipients
        ),
        Line(Step.DATA, "DATA"),
    ]


def _path(address: str, *, smtputf8: bool) -> str:
    if (address and not address.isprintable()) or not (smtputf8 or address.isascii()):
        raise ValueError(
            "an envelope address is printable, and ASCII unless SMTPUTF8 was asked for"
        )
    return f"<{address}>"

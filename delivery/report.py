"""Delivery status notifications (RFC 3464): what was not delivered from the outbox, and why."""

import re
from contextlib import nullcontext
from email.message import Message, MIMEPart
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.policy import SMTP
from email.utils import format_datetime, formataddr, make_msgid

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from delivery.models import OutboxMessage
from delivery.outbox import Draft, store_message
from delivery.reply_words import reply_words
from smtp.reply import Reply

_LINE_STARTING_WITH_DOT = re.compile(rb"^\.", re.MULTILINE)
_MESSAGE_ID = re.compile(r"(?!.*=\?)[!-~]+")  # without what could be an encoded word
# Long lines that others have written stay as they are: to fold them, Python would read encoded
# words in them, and fail on some.
_UNFOLDED = SMTP.clone(refold_source="none")
_BEYOND_ASCII = re.compile(r"[^!-\[\]-~]")


def report_failure(message: OutboxMessage, reply: Reply, content: bytes, *, is_kept: bool) -> None:
    """Store the report for the author, in the transaction that ends the message.

    Nobody is told of what had an empty envelope sender: two servers would never stop telling each
    other (RFC 5321 4.5.5). `content` is the beginning of the message, empty where it can't be read.
    `is_kept`: the author can open it again.
    """
    if message.null_sender:
        return
    # Without an account nobody is told which language its people read.
    with message.account.reads() if message.account else nullcontext():
        report = write_report(message, reply, content, is_kept=is_kept)
    draft = Draft(
        source=OutboxMessage.Source.REPORT,
        user_id=message.account_id,
        account_address=message.account_address,
        from_address=settings.OUTGATE_FROM_ADDRESS,
        recipients=[message.account_address],
        message_id=report["Message-ID"],
        null_sender=True,
    )
    octets = report.as_bytes(policy=_UNFOLDED)
    header, empty, body = octets.partition(b"\r\n\r\n")
    store_message(draft, [header + empty, _LINE_STARTING_WITH_DOT.sub(b"..", body)])


def write_report(
    message: OutboxMessage, reply: Reply, content: bytes, *, is_kept: bool = False
) -> Message:
    """The report in three parts: for people, for programs, and the header of the message."""
    context = {
        "message": message,
        "recipients": message.recipients,
        "reply": reply_words(str(reply)),
        "gave_up": not reply.is_permanent,
        "is_kept": is_kept,
        "days": OutboxMessage.CONTENT_KEPT.days,
        "link": settings.BASE_URL + reverse("delivery:outgoing"),
    }
    subject, body = (
        render_to_string(f"delivery/mail/failure-{part}.txt", context).strip()
        for part in ("subject", "body-text")
    )
    report = MIMEMultipart("report", policy=SMTP, report_type="delivery-status")
    report["Date"] = format_datetime(timezone.now())
    report["From"] = formataddr((_("Mail delivery"), settings.OUTGATE_FROM_ADDRESS))
    report["To"] = message.account_address
    report["Subject"] = subject
    report["Message-ID"] = make_msgid(domain=settings.OUTGATE_HOSTNAME)
    report["Auto-Submitted"] = "auto-replied"
    if _MESSAGE_ID.fullmatch(message.message_id):
        report["References"] = message.message_id
    text = MIMEPart(policy=SMTP)
    text.set_content(body, cte="quoted-printable")
    report.attach(text)
    report.attach(_status(message, reply))
    report.attach(_original_header(content))
    return report


def _status(message: OutboxMessage, reply: Reply) -> Message:
    """One block about the message, then one for each recipient (RFC 3464 2.1)."""
    part = MIMEBase("message", "delivery-status")
    of_message = Message()
    of_message["Reporting-MTA"] = f"dns; {settings.OUTGATE_HOSTNAME}"
    of_message["Arrival-Date"] = format_datetime(message.created_at)
    part.attach(of_message)
    for recipient in message.recipients:
        of_recipient = Message()
        of_recipient["Final-Recipient"] = _typed(recipient)
        of_recipient["Action"] = "failed"
        of_recipient["Status"] = reply.enhanced or f"{reply.code // 100}.0.0"
        of_recipient["Diagnostic-Code"] = f"smtp; {_one_line(reply)}"
        of_recipient["Last-Attempt-Date"] = format_datetime(timezone.now())
        part.attach(of_recipient)
    return part


def _typed(address: str) -> str:
    """Addresses beyond ASCII in the form that passes everywhere (RFC 6533 section 3)."""
    if address.isascii():
        return f"rfc822; {address}"
    return "utf-8; " + _BEYOND_ASCII.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", address)


def _one_line(reply: Reply) -> str:
    words = " ".join(str(reply).split())
    return words.encode("ascii", "replace").decode("ascii")[:900]  # a line holds 998 octets


def _original_header(content: bytes) -> Message:
    header = content.partition(b"\r\n\r\n")[0]
    part = MIMEPart(policy=SMTP)
    if header.isascii():
        part.set_content(header + b"\r\n", "text", "rfc822-headers", cte="7bit")
    else:  # RFC 6532
        utf8 = {"charset": "utf-8"}
        part.set_content(header + b"\r\n", "text", "rfc822-headers", cte="base64", params=utf8)
    return part

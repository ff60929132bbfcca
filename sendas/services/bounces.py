"""What mail servers say that puts an outside address in doubt: then its owner is asked to prove it.

Only two servers are believed: our own relay about its recipients, and an address's own server about
its sender. Anybody can run another one and let it say of everybody that he is unknown.
"""

from datetime import timedelta
from uuid import UUID

from django.db.models.functions import Now

from sendas.models import SendAs, SendAsQuerySet
from sendas.services.reproof import ask_again
from smtp.address import AddressError, normalise_address, split_address
from smtp.reply import Reply

# Who has just read a code there has the mailbox, whatever a server says of it.
PROVED_LATELY = timedelta(weeks=1)

# RFC 3463 3.2 and 3.3, RFC 7505: no such mailbox, no such domain, moved, takes no mail, disabled.
_RECIPIENT_IS_GONE = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"}
# RFC 3463 3.2: the sender's mailbox, the sender's system. Of no recipient, at whatever command.
_SENDER_IS_GONE = {"5.1.7", "5.1.8"}


def recipient_is_gone(reply: Reply) -> bool:
    """Whether a reply to RCPT says for good that there is no such mailbox.

    Not where it is full, or where the server does not want this message or this client. Without an
    enhanced code 550 may mean any of these (RFC 5321 4.2.3): a message can be written to earn it.
    """
    return reply.is_permanent and reply.enhanced in _RECIPIENT_IS_GONE


def sender_is_gone(reply: Reply) -> bool:
    """Whether a reply to MAIL, RCPT or DATA says for good that the sender has no mailbox."""
    return reply.is_permanent and reply.enhanced in _SENDER_IS_GONE


def note_gone_recipient(address: str) -> None:
    """Our relay takes no mail for it: ask whoever sends from it, but for who proved it lately."""
    try:
        address = normalise_address(address, smtputf8=True)
    except AddressError:
        return  # nobody could have added that
    # The domain has the index.
    same = SendAs.objects.filter(domain=split_address(address)[1], send_as_email=address)
    _ask(same, SendAs.AskReason.BOUNCE)


def note_gone_sender(account_id: UUID, address: str) -> None:
    """The address's own server does not know it as a sender: the same."""
    same = SendAs.objects.filter(user_id=account_id, send_as_email=address)
    _ask(same, SendAs.AskReason.SENDER)


def _ask(addresses: SendAsQuerySet, reason: SendAs.AskReason) -> None:
    for send_as in addresses.filter(verified_at__lte=Now() - PROVED_LATELY):
        ask_again(send_as=send_as, reason=reason)

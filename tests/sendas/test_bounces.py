"""What servers say of an address: which words of which one put it in doubt, and what follows."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from accounts.services.audit import SYSTEM
from delivery.models import OutboxMessage
from sendas.models import OwnerNotice, SendAs
from sendas.services.bounces import recipient_is_gone, sender_is_gone
from sendas.services.proof import confirm_code, send_proof
from sendas.services.reproof import GRACE, ask_again
from smtp.reply import Reply
from tests.delivery.conftest import relay
from tests.delivery.outbox import deliver, put, state_of
from tests.delivery.test_outbox_gateway import keep_gateway
from tests.sendas.conftest import PARTNER, apply_policy, make_pending, make_send_as
from tests.sendas.test_proof import code_in
from tests.sendas.test_reproof import YEAR, mail_all, make_proved

__all__ = ["relay"]
MONTH = timedelta(days=30)
AskReason = SendAs.AskReason

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("code", "enhanced", "gone"),
    [
        (550, "5.1.1", True), (556, "5.1.10", True), (550, "5.2.1", True),
        (450, "4.1.1", False), (552, "5.2.2", False), (550, "5.7.1", False), (554, "", False),
        (550, "5.1.8", False), (452, "", False), (550, "", False), (551, "", False),
    ],
)  # fmt: skip
def test_a_recipient_is_gone_by_some_words_only(code, enhanced, gone):
    assert recipient_is_gone(Reply(code, enhanced, "no")) == gone


@pytest.mark.parametrize(
    ("code", "enhanced", "gone"),
    [
        (550, "5.1.7", True), (553, "5.1.8", True),
        (450, "4.1.8", False), (550, "5.7.1", False), (550, "", False), (550, "5.1.1", False),
    ],
)  # fmt: skip
def test_a_sender_is_gone_by_some_words_only(code, enhanced, gone):
    assert sender_is_gone(Reply(code, enhanced, "no")) == gone


def asked() -> dict[str, str]:
    rows = SendAs.objects.exclude(asked_at=None)
    return {row.user.primary_address: row.ask_reason for row in rows}


@pytest.fixture
def mail_leaves(relay, settings):
    """As in production: by the relay."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", relay.port
    return relay


def test_a_code_that_the_relay_refuses_for_good_leaves_a_week(owner, mail_leaves):
    send_as = make_proved(owner, ago=YEAR)
    ask_again(send_as=send_as, reason=AskReason.AGE)
    mail_leaves.answers[PARTNER] = b"550-5.1.1 Nobody\r\n550 5.1.1 of that name\r\n"
    with pytest.raises(ValidationError, match="takes no mail for it"):
        send_proof(send_as)
    send_as.refresh_from_db()
    assert send_as.ask_reason == AskReason.BOUNCE
    assert send_as.proof_due_at - send_as.asked_at < GRACE[AskReason.BOUNCE] + timedelta(minutes=1)


@pytest.mark.parametrize(
    "said", [b"450 4.2.0 Later", b"550 5.7.1 Not from here", b"550 5.1.1 " + 5_000 * b"x", b"No"]
)
def test_a_code_that_is_put_off_or_unwanted_changes_nothing(owner, mail_leaves, said):
    send_as = make_proved(owner, ago=YEAR)
    ask_again(send_as=send_as, reason=AskReason.AGE)
    mail_leaves.answers[PARTNER] = said + b"\r\n"
    with pytest.raises(ValidationError):
        send_proof(send_as)
    assert asked() == {owner.primary_address: "age"}


def test_a_pending_address_is_only_refused(owner, mail_leaves):
    mail_leaves.answers[PARTNER] = b"550 5.1.1 Nobody\r\n"
    with pytest.raises(ValidationError):
        send_proof(make_pending(owner))
    assert asked() == {}


def test_mail_that_comes_back_has_whoever_sends_from_there_asked(
    owner, colleague, stranger, relay, mailoutbox
):
    make_proved(owner, ago=MONTH)
    make_proved(colleague, ago=MONTH)
    make_proved(stranger, ago=MONTH, address="another@partnerdomain.com")
    relay.answers["USER.name@PartnerDomain.com"] = b"550 5.1.1 Nobody of that name\r\n"
    message = put(stranger, recipients=["USER.name@PartnerDomain.com"])
    for _ in range(2):
        deliver()
    assert state_of(message) == OutboxMessage.State.FAILED
    assert asked() == {owner.primary_address: "bounce", colleague.primary_address: "bounce"}
    assert len(mail_all()) == 2
    assert all("mail to that address came back" in each.body for each in mailoutbox)


def test_what_was_proved_lately_is_not_asked_for(owner, relay):
    make_proved(owner, ago=timedelta(days=6))
    relay.answers[PARTNER] = b"550 5.1.1 Nobody of that name\r\n"
    put(owner, recipients=[PARTNER])
    deliver()
    assert asked() == {}


def test_another_server_than_our_relay_says_nothing_about_recipients(
    owner, stranger, partner, relay
):
    """It may be anybody's, who would have everybody's addresses suspended."""
    victim = make_proved(owner, ago=MONTH, address="victim@partnerdomain.com")
    apply_policy(stranger, value={"allowed": True})
    keep_gateway(make_send_as(stranger), partner.port)
    partner.refused.add(victim.send_as_email)
    put(stranger, from_address=PARTNER, recipients=[victim.send_as_email])
    deliver()
    assert asked() == {}


def test_a_server_that_does_not_know_its_own_sender_has_that_one_asked(
    owner, colleague, partner, allowed, relay, client, mailoutbox
):
    send_as = make_proved(owner, ago=MONTH)
    make_proved(colleague, ago=MONTH)
    keep_gateway(send_as, partner.port)
    partner.refused_senders[PARTNER] = "550 5.1.8 Sender unknown"
    message = put(owner, from_address=PARTNER)
    deliver()
    assert state_of(message) == OutboxMessage.State.FAILED
    assert asked() == {owner.primary_address: "sender"}
    [notice] = mail_all()
    for body in (notice.body, notice.alternatives[0].content):
        assert "its own server said that it does not know that address" in body
    client.force_login(owner)
    page = client.get("/settings/").content.decode()
    assert "Its own server said that it does not know this address." in page
    # Proved again, the server may go on saying so: who reads the mail there has the mailbox.
    send_as.refresh_from_db()
    send_proof(send_as)
    confirm_code(actor=SYSTEM, send_as=send_as, code=code_in(mailoutbox[-1]))
    put(owner, from_address=PARTNER, subject="again")
    deliver()
    assert asked() == {}
    assert not OwnerNotice.objects.exists()


def test_a_receipt_without_sender_says_nothing_of_it(owner, partner, allowed, relay):
    keep_gateway(make_proved(owner, ago=MONTH), partner.port)
    partner.refused_senders["<>"] = partner.refused_senders[""] = "550 5.1.7 No null sender"
    put(owner, from_address=PARTNER, null_sender=True)
    deliver()
    assert partner.senders
    assert asked() == {}

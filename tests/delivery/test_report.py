"""What the author gets when a message has failed, read by parsers that are not ours."""

import email
import email.policy

import pytest
from django.db.models.functions import Now
from flufl.bounce import all_failures

from accounts.services.audit import SYSTEM
from accounts.services.people import choose_language, suspend_user
from delivery.models import OutboxMessage
from tests.delivery.outbox import RECIPIENT, content_for, deliver, put, state_of

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxMessage.State
REFUSED = b"550-5.1.1 Nobody of that name here.\r\n550 5.1.1 Ask claire\xe9 herself\r\n"


@pytest.fixture
def report(owner, relay):
    """Puts a message, lets it fail, and returns the report that the relay got."""

    def fail(*, gives_up=False, **message):
        message = {"recipients": [RECIPIENT]} | message
        relay.answers[message["recipients"][0]] = message.pop("answer", REFUSED)
        message = put(owner, **message)
        if gives_up:
            OutboxMessage.objects.filter(pk=message.pk).update(expires_at=Now())
        deliver()
        [taken] = relay.taken
        assert (taken.sender, taken.recipients) == ("", [owner.primary_address])
        octets = b"\r\n".join(line.removeprefix(b".") for line in taken.content.split(b"\r\n"))
        return email.message_from_bytes(octets, policy=email.policy.default)

    return fail


def test_a_report_has_three_parts_for_people_programs_and_the_record(report, owner):
    recipients = ["claire@customer.example", "dan@customer.example"]
    found = report(recipients=recipients)
    assert found.get_content_type() == "multipart/report"
    assert found.get_param("report-type") == "delivery-status"
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["To"] == owner.primary_address
    assert found["References"] == "<Offer@yourdomain.com>"
    assert not found.defects
    text, status, header = found.iter_parts()
    for words in (*recipients, "was not delivered", "5.1.1 Nobody of that name here.",
                  "<claire@customer.example> was refused"):  # fmt: skip
        assert words in text.get_content()
    of_message, *of_recipients = status.get_payload()
    assert of_message["Reporting-MTA"] == "dns; localhost"
    assert email.utils.parsedate_to_datetime(of_message["Arrival-Date"])
    assert [block["Final-Recipient"] for block in of_recipients] == [
        f"rfc822; {address}" for address in recipients
    ]
    for block in of_recipients:
        assert block["Action"] == "failed"
        assert block["Status"] == "5.1.1"
        assert block["Diagnostic-Code"].startswith("smtp; 550 5.1.1 ")
    assert header.get_content_type() == "text/rfc822-headers"
    original = email.message_from_string(header.get_content(), policy=email.policy.default)
    assert original["Subject"] == "Offer"
    assert original["Message-ID"] == "<Offer@yourdomain.com>"
    assert "Text" not in header.get_content()


@pytest.mark.parametrize("gives_up", [False, True])
def test_mailing_lists_read_from_it_who_was_not_reached(report, gives_up):
    """By Mailman's reader of reports, which knows nothing of us."""
    recipients = ["claire@customer.example", "dan@customer.example"]
    answer = b"450 4.2.1 Mailbox is busy\r\n" if gives_up else REFUSED
    found = report(recipients=recipients, answer=answer, gives_up=gives_up)
    temporary, permanent = all_failures(email.message_from_bytes(found.as_bytes()))
    assert temporary == set()
    assert permanent == {address.encode() for address in recipients}


def test_what_was_given_up_says_so(report):
    found = report(answer=b"450 4.2.1 Mailbox is busy\r\n", gives_up=True)
    text, status, _header = found.iter_parts()
    assert "given up" in text.get_content()
    assert status.get_payload()[1]["Status"] == "4.2.1"


def test_headers_and_recipients_beyond_ascii_survive(report, owner):
    content = content_for(owner.primary_address).replace(b"Offer", "Angebot für Größe".encode(), 1)
    found = report(content=content, recipients=["jörg@customer.example"],
                   answer=b"553 5.6.7 Too new\r\n")  # fmt: skip
    _text, status, header = found.iter_parts()
    assert "für Größe" in header.get_content()
    assert status.get_payload()[1]["Final-Recipient"] == r"utf-8; j\x{F6}rg@customer.example"


NO_WORD = "=?utf-8?b?xx?="  # Python can read it, and not write it again


@pytest.mark.parametrize(
    ("recipient", "answer", "message_id"),
    [
        (f"{NO_WORD}@{'long.' * 20}example", REFUSED, "<x@yourdomain.com>"),
        (RECIPIENT, f"550 5.1.1 {NO_WORD}{'x' * 200}\r\n".encode(), "<x@yourdomain.com>"),
        (RECIPIENT, REFUSED, NO_WORD + "x" * 200),
    ],
    ids=["recipient", "answer", "Message-ID"],
)
def test_what_can_not_be_written_again_ends_with_a_report(
    owner, relay, recipient, answer, message_id
):
    relay.answers[recipient] = answer
    message = put(owner, recipients=[recipient])
    OutboxMessage.objects.update(message_id=message_id)
    deliver()
    assert state_of(message) == State.FAILED
    assert [taken.recipients for taken in relay.taken] == [[owner.primary_address]]


def test_a_report_that_can_not_be_written_keeps_no_message_from_its_end(owner, relay, settings):
    settings.OUTGATE_FROM_ADDRESS = "outgate@yourdomain.com\nBcc: all@yourdomain.com"
    relay.answers[RECIPIENT] = REFUSED
    refused, taken = put(owner), put(owner, recipients=["other@customer.example"])
    deliver()
    assert (state_of(refused), state_of(taken)) == (State.FAILED, State.SENT)


def test_a_suspended_account_is_told_why(owner, relay):
    put(owner)
    suspend_user(actor=SYSTEM, user=owner)
    deliver()
    deliver()
    [taken] = relay.taken
    assert b"suspended" in taken.content


@pytest.mark.parametrize("null_sender", [True, False])
def test_the_failure_of_a_report_is_not_reported(owner, relay, null_sender):
    relay.answers["RCPT"] = REFUSED
    put(owner, null_sender=null_sender)
    for _ in range(3):
        deliver()
    assert relay.taken == []
    assert OutboxMessage.objects.count() == (1 if null_sender else 2)
    assert set(OutboxMessage.objects.values_list("state", flat=True)) == {State.FAILED}


def test_a_report_outlives_a_relay_that_is_away(owner, relay):
    relay.answers = {RECIPIENT: REFUSED, owner.primary_address: b"451 4.3.2 Not now\r\n"}
    put(owner)
    deliver()
    assert relay.taken == []
    report = OutboxMessage.objects.get(source=OutboxMessage.Source.REPORT)
    assert report.state == State.WAITING
    relay.answers.clear()
    OutboxMessage.objects.filter(pk=report.pk).update(next_attempt_at=Now())
    deliver()
    assert relay.taken[0].recipients == [owner.primary_address]


def test_it_is_written_in_the_authors_language(report, owner):
    choose_language(owner, "ja")
    found = report()
    assert "配信できませんでした" in found["Subject"]
    text, status, _header = found.iter_parts()
    assert "5.1.1 Nobody of that name here." in text.get_content()
    assert "<claire@customer.example>が拒否されたため" in text.get_content()
    assert status.get_payload()[1]["Action"] == "failed"

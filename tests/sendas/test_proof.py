"""Proof of ownership: limits, single use, whose it is, and what voids it."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import F

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM
from sendas.models import OwnershipProof, SendAs, VerificationMail
from sendas.services.proof import CODE_TRIES, confirm_code, confirm_link, find_link, send_proof
from tests.sendas.conftest import PARTNER, make_pending, partner_server


def code_in(mail) -> str:
    """The code as a person reads it: alone on its line."""
    return re.search(r"^\d{4} \d{4}$", mail.body, re.MULTILINE)[0]


def token_in(mail) -> str:
    return re.search(r"/send-as/confirm/([^/\s]+)/", mail.body)[1]


def age(queryset, **fields: timedelta) -> None:
    """Let time pass: move the rows into the past."""
    queryset.update(**{name: F(name) - span for name, span in fields.items()})


def age_mails(span: timedelta) -> None:
    age(VerificationMail.objects, sent_at=span)


@pytest.fixture
def pending(owner) -> SendAs:
    return make_pending(owner)


@pytest.fixture
def mail(pending, mailoutbox):
    send_proof(pending)
    return mailoutbox[-1]


def test_the_mail_holds_code_and_link_and_says_who_asked(mail, owner, settings):
    assert mail.to == [PARTNER]
    assert mail.from_email == f"Outgate <{settings.OUTGATE_FROM_ADDRESS}>"
    assert f"{owner.name} ({owner.primary_address})" in mail.body
    assert code_in(mail)
    html, kind = mail.alternatives[0]
    assert kind == "text/html"
    for words in (code_in(mail), token_in(mail), owner.name, owner.primary_address):
        assert words in mail.body
        assert words in html
    assert "15 minutes" in mail.body
    assert "24 hours" in mail.body
    assert "If it is not you" in mail.body
    assert mail.extra_headers["Auto-Submitted"] == "auto-generated"


def test_code_and_link_are_kept_as_digests_only(mail):
    kept = str(OwnershipProof.objects.values().get())
    assert token_in(mail) not in kept
    assert code_in(mail).replace(" ", "") not in kept
    assert len(token_in(mail)) >= 22  # 128 bits in base64


def test_the_code_accepts_the_address_however_it_is_spaced(mail, pending):
    confirm_code(actor=SYSTEM, send_as=pending, code=f" {code_in(mail)} ")
    pending.refresh_from_db()
    assert pending.is_accepted
    assert pending.verified_at is not None
    assert AuditEvent.objects.filter(name="send_as_verified", target=PARTNER).count() == 1


def test_code_and_link_are_for_one_use_together(mail, pending, owner):
    proof = find_link(owner, token_in(mail))
    confirm_code(actor=SYSTEM, send_as=pending, code=code_in(mail))
    assert find_link(owner, token_in(mail)) is None
    with pytest.raises(ValidationError, match="used already"):
        confirm_link(actor=SYSTEM, proof=proof)
    with pytest.raises(ValidationError, match="can't be used any more"):
        confirm_code(actor=SYSTEM, send_as=pending, code=code_in(mail))


def test_the_link_accepts_the_address_of_its_own_account_only(mail, pending, owner, colleague):
    make_pending(colleague)  # the same address, wanted by two
    assert find_link(colleague, token_in(mail)) is None
    assert find_link(owner, token_in(mail) + "x") is None
    confirm_link(actor=SYSTEM, proof=find_link(owner, token_in(mail)))
    pending.refresh_from_db()
    assert pending.is_accepted
    assert SendAs.objects.get(user=colleague).is_pending


def test_a_code_proves_nothing_for_another_account_or_address(mail, owner, colleague):
    elsewhere = [make_pending(colleague), make_pending(owner, address="other@partnerdomain.com")]
    for send_as in elsewhere:
        OwnershipProof.objects.filter(send_as=send_as).delete()
        send_proof_without_limits(send_as)
        with pytest.raises(ValidationError, match="not the code"):
            confirm_code(actor=SYSTEM, send_as=send_as, code=code_in(mail))
        send_as.refresh_from_db()
        assert send_as.is_pending


def send_proof_without_limits(send_as: SendAs) -> None:
    age_mails(timedelta(hours=2))
    send_proof(send_as)


def test_the_code_is_good_for_fifteen_minutes_and_the_link_for_a_day(mail, pending, owner):
    age(OwnershipProof.objects, code_valid_until=timedelta(minutes=15, seconds=1))
    with pytest.raises(ValidationError, match="can't be used any more"):
        confirm_code(actor=SYSTEM, send_as=pending, code=code_in(mail))
    assert find_link(owner, token_in(mail))
    age(OwnershipProof.objects, link_valid_until=timedelta(hours=24, seconds=1))
    assert find_link(owner, token_in(mail)) is None


def test_five_wrong_codes_void_the_right_one(mail, pending):
    wrong = "0000 0000" if code_in(mail) != "0000 0000" else "1111 1111"
    for _ in range(CODE_TRIES):
        with pytest.raises(ValidationError, match="not the code"):
            confirm_code(actor=SYSTEM, send_as=pending, code=wrong)
    with pytest.raises(ValidationError, match="can't be used any more"):
        confirm_code(actor=SYSTEM, send_as=pending, code=code_in(mail))


@pytest.mark.django_db(transaction=True)
def test_of_fifty_guesses_at_once_at_most_five_are_looked_at(mail, pending):
    right = code_in(mail)
    guesses = [f"{(int(right.replace(' ', '')) + n) % 10**8:08}" for n in range(1, 51)]

    def guess(code: str) -> str:
        try:
            confirm_code(actor=SYSTEM, send_as=pending, code=code)
        except ValidationError as refusal:
            return refusal.messages[0]
        finally:
            connection.close()
        return "accepted"

    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(guess, guesses))
    looked_at = [answer for answer in answers if answer.startswith("That is not the code")]
    assert len(looked_at) == CODE_TRIES
    assert len(answers) - len(looked_at) == 45
    assert "accepted" not in answers
    assert OwnershipProof.objects.get().attempts == CODE_TRIES


@pytest.mark.django_db(transaction=True)
def test_of_two_uses_at_once_one_counts(mail, pending, owner):
    proof = find_link(owner, token_in(mail))

    def use(_number: int) -> bool:
        try:
            confirm_link(actor=SYSTEM, proof=proof)
        except ValidationError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1
    assert AuditEvent.objects.filter(name="send_as_verified").count() == 1


def test_a_new_mail_voids_the_one_before(mail, pending, owner, mailoutbox):
    age_mails(timedelta(seconds=61))
    send_proof(pending)
    assert find_link(owner, token_in(mail)) is None
    assert find_link(owner, token_in(mailoutbox[-1]))


def test_a_mail_is_sent_again_after_a_minute(mail, pending, mailoutbox):
    with pytest.raises(ValidationError, match="Wait a minute"):
        send_proof(pending)
    age_mails(timedelta(seconds=61))
    send_proof(pending)
    assert len(mailoutbox) == 2


def test_three_mails_an_hour_and_five_a_day_go_to_an_address_over_all_accounts(
    owner, colleague, stranger, mailoutbox
):
    rows = [make_pending(user) for user in (owner, colleague, stranger)]
    for send_as in rows:
        send_proof(send_as)
    age_mails(timedelta(minutes=2))
    with pytest.raises(ValidationError, match="enough mails"):
        send_proof(rows[0])
    age_mails(timedelta(hours=1))
    send_proof(rows[0])
    send_proof(rows[1])
    age_mails(timedelta(hours=2))
    with pytest.raises(ValidationError, match="enough mails"):
        send_proof(rows[2])
    age_mails(timedelta(hours=22))
    send_proof(rows[2])
    assert len(mailoutbox) == 6


def test_deleting_and_adding_again_lifts_no_limit(owner, mailoutbox):
    for _ in range(3):
        send_as = make_pending(owner)
        send_proof(send_as)
        send_as.delete()
        age_mails(timedelta(minutes=2))
    with pytest.raises(ValidationError, match="enough mails"):
        send_proof(make_pending(owner))
    assert len(mailoutbox) == 3


def test_twenty_mails_a_day_leave_for_an_account(owner, colleague):
    VerificationMail.objects.bulk_create(
        VerificationMail(address=f"a{number}@partnerdomain.com", user=owner) for number in range(20)
    )
    with pytest.raises(ValidationError, match="enough mails"):
        send_proof(make_pending(owner))
    send_proof(make_pending(colleague))


@pytest.mark.django_db(transaction=True)
def test_accounts_that_ask_at_once_count_each_others_mail(owner, colleague, stranger, super_admin):
    users = [owner, colleague, stranger, super_admin]
    rows = [make_pending(user) for user in users]

    def ask(send_as: SendAs) -> bool:
        try:
            send_proof(send_as)
        except ValidationError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, rows)) == 3
    assert VerificationMail.objects.count() == 3


def test_a_verified_address_gets_no_mail(mail, pending, mailoutbox):
    confirm_code(actor=SYSTEM, send_as=pending, code=code_in(mail))
    with pytest.raises(ValidationError, match="verified already"):
        send_proof(pending)
    assert len(mailoutbox) == 1


def test_a_mail_server_that_is_away_is_told_and_no_code_is_said_to_be_under_way(pending, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    with pytest.raises(ValidationError, match="The address is kept"):
        send_proof(pending)
    assert SendAs.objects.get().is_pending
    assert not OwnershipProof.objects.exists()


def test_an_address_that_the_mail_server_takes_no_mail_for_is_told(pending, settings):
    with partner_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        server.refused.add(PARTNER)
        with pytest.raises(ValidationError, match="takes no mail for it"):
            send_proof(pending)


def test_an_address_that_was_deleted_meanwhile_gets_no_mail(pending, mailoutbox):
    SendAs.objects.all().delete()
    with pytest.raises(ValidationError, match="was deleted"):
        send_proof(pending)
    assert mailoutbox == []

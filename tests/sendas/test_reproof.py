"""Proofs that grow old or doubtful: asked for, reminded of, suspended, proved again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from smtplib import SMTPException

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM
from accounts.services.people import add_alias, restore_user, suspend_user
from delivery.explain import explain
from delivery.routing import Refusal, Route, Rule, decide
from delivery.services import load_account, load_settings
from sendas.models import OwnerNotice, SendAs
from sendas.services.addresses import make_default, remove_gateway
from sendas.services.proof import confirm_code, send_proof
from sendas.services.reproof import (
    ASKED_PER_HOUR,
    GRACE,
    ask_again,
    ask_for_old_proofs,
    suspend_lapsed,
)
from sendas.tasks import mail_notice, sweep_proofs
from tests.sendas.conftest import PARTNER, make_pending, make_send_as
from tests.sendas.pages import row_of
from tests.sendas.test_proof import age, age_mails, code_in
from tests.support import page_of, read

YEAR = timedelta(days=365)
AGE, BOUNCE = SendAs.AskReason.AGE, SendAs.AskReason.BOUNCE


def make_proved(user, *, ago: timedelta, address: str = PARTNER) -> SendAs:
    send_as = make_send_as(user, address=address)
    SendAs.objects.filter(pk=send_as.pk).update(verified_at=Now() - ago)
    send_as.refresh_from_db()
    return send_as


def pass_time(span: timedelta) -> None:
    for name in ("verified_at", "asked_at", "proof_due_at", "suspended_at"):
        age(SendAs.objects.exclude(**{name: None}), **{name: span})


def mail_all() -> list[mail.EmailMessage]:
    """Those that leave now."""
    before = len(mail.outbox)
    for pk in OwnerNotice.objects.due().values_list("pk", flat=True):
        mail_notice(pk)
    return mail.outbox[before:]


def route_of(user, address: str = PARTNER) -> Route | Refusal:
    return decide(load_account(user), address, load_settings(user))


def test_an_old_proof_is_asked_for_four_weeks_before_a_year_is_over(owner):
    send_as = make_proved(owner, ago=YEAR - timedelta(weeks=4, hours=-1))
    make_proved(owner, ago=YEAR - timedelta(weeks=4, hours=1), address="b@partnerdomain.com")
    make_pending(owner, address="c@partnerdomain.com")
    sweep_proofs()
    [asked] = SendAs.objects.exclude(asked_at=None)
    assert asked == send_as
    assert asked.proof_due_at - asked.asked_at == timedelta(weeks=4)
    event = AuditEvent.objects.get(name="send_as_asked_again")
    assert event.target == PARTNER
    assert event.details == {"account": owner.primary_address, "reason": "age"}
    assert event.unit_path == "yourdomain.com › Sales › Partner desk"
    [message] = mail_all()
    assert message.to == [owner.primary_address]
    assert PARTNER in message.subject
    for body in (message.body, message.alternatives[0].content):
        assert "have a code sent to the address" in body
        assert f"/settings/#address-{send_as.pk}" in body
    # It works on meanwhile.
    assert isinstance(route_of(owner), Route)


def test_the_age_is_a_setting(owner, settings):
    settings.OUTGATE_PROOF_DAYS = 90
    make_proved(owner, ago=timedelta(days=63))
    assert ask_for_old_proofs() == 1


def test_nobody_is_asked_or_told_twice(owner):
    make_proved(owner, ago=YEAR)
    for _ in range(2):
        sweep_proofs()
        notices = list(OwnerNotice.objects.values_list("pk", flat=True))
        for pk in notices * 2:
            mail_notice(pk)
    pass_time(timedelta(weeks=4, hours=1))
    for _ in range(2):
        sweep_proofs()
        mail_all()
    assert [message.subject.split()[0] for message in mail.outbox] == ["Prove", "Mail"]
    names = AuditEvent.objects.filter(name__startswith="send_as_").values_list("name", flat=True)
    assert sorted(names) == ["send_as_asked_again", "send_as_suspended"]


def test_what_is_not_proved_in_time_is_suspended_and_says_how_to_mend_it(owner):
    make_proved(owner, ago=YEAR)
    sweep_proofs()
    mail_all()
    pass_time(timedelta(weeks=3, days=6))
    assert suspend_lapsed() == 0
    pass_time(timedelta(days=2))
    assert suspend_lapsed() == 1
    answer = route_of(owner)
    assert isinstance(answer, Refusal)
    assert (answer.reply.code, answer.reply.enhanced) == (550, "5.7.1")
    assert "Have a code sent to it under Send mail as" in answer.reply.text
    assert answer.explanation.rule == Rule.ADDRESS_SUSPENDED
    assert "not proved it again in time" in explain(answer.explanation)
    [message] = mail_all()
    assert message.to == [owner.primary_address]
    assert "is refused" in message.subject
    assert "your mail program keeps the message" in message.body
    with pytest.raises(ValidationError, match="once it is verified"):
        make_default(actor=SYSTEM, user=owner, address=PARTNER)


@pytest.mark.parametrize("suspended", [False, True])
def test_a_code_proves_it_again_and_it_works_at_once(owner, suspended):
    send_as = make_proved(owner, ago=YEAR)
    sweep_proofs()
    if suspended:
        pass_time(timedelta(weeks=5))
        sweep_proofs()
        assert isinstance(route_of(owner), Refusal)
    send_proof(send_as)
    assert mail.outbox[-1].to == [PARTNER]
    confirm_code(actor=SYSTEM, send_as=send_as, code=code_in(mail.outbox[-1]))
    assert isinstance(route_of(owner), Route)
    send_as.refresh_from_db()
    assert (send_as.asked_at, send_as.proof_due_at, send_as.suspended_at) == (None, None, None)
    assert timezone.now() - send_as.verified_at < timedelta(minutes=1)
    # Mails that are still to leave have no sense any more.
    assert mail_all() == []
    assert not OwnerNotice.objects.exists()
    sweep_proofs()
    assert not OwnerNotice.objects.exists()


def test_an_address_that_bounces_has_a_week(owner):
    send_as = make_proved(owner, ago=timedelta(days=1))
    assert ask_again(send_as=send_as, reason=BOUNCE)
    send_as.refresh_from_db()
    assert send_as.proof_due_at - send_as.asked_at == timedelta(weeks=1)
    [message] = mail_all()
    assert "mail to that address came back" in message.body
    assert not ask_again(send_as=send_as, reason=BOUNCE)
    assert mail_all() == []


def test_a_bounce_makes_a_proof_that_was_asked_for_due_sooner_and_never_later(owner):
    """Its owner hears of the new day: the mail from before names a later one."""
    send_as = make_proved(owner, ago=YEAR)
    sweep_proofs()
    assert len(mail_all()) == 1
    assert not ask_again(send_as=send_as, reason=BOUNCE)
    send_as.refresh_from_db()
    soon = send_as.proof_due_at
    assert soon - send_as.asked_at < timedelta(weeks=1, minutes=1)
    [message] = mail_all()
    assert "mail to that address came back" in message.body
    pass_time(timedelta(days=3))
    ask_again(send_as=send_as, reason=BOUNCE)
    send_as.refresh_from_db()
    assert send_as.proof_due_at == soon - timedelta(days=3)
    assert mail_all() == []


def test_what_was_never_proved_is_not_asked_for_again(owner):
    send_as = make_pending(owner)
    assert not ask_again(send_as=send_as, reason=BOUNCE)
    send_as.delete()
    assert not ask_again(send_as=send_as, reason=BOUNCE)
    assert not OwnerNotice.objects.exists()


def test_who_is_suspended_is_asked_once_he_is_back(owner):
    make_proved(owner, ago=2 * YEAR)
    suspend_user(actor=SYSTEM, user=owner)
    assert ask_for_old_proofs() == 0
    restore_user(actor=SYSTEM, user=owner)
    assert ask_for_old_proofs() == 1


def test_what_became_an_alias_needs_no_proof(owner):
    make_proved(owner, ago=2 * YEAR, address="sales@yourdomain.com")
    add_alias(actor=SYSTEM, user=owner, address="sales@yourdomain.com")
    sweep_proofs()
    assert mail_all() == []
    pass_time(timedelta(weeks=5))
    sweep_proofs()
    assert isinstance(route_of(owner, "sales@yourdomain.com"), Route)


def test_a_change_of_the_server_voids_the_code_that_is_under_way(owner):
    send_as = make_proved(owner, ago=YEAR)
    sweep_proofs()
    send_proof(send_as)
    remove_gateway(actor=SYSTEM, send_as=send_as)
    assert not send_as.proofs.exists()


class Away(EmailBackend):
    def send_messages(self, messages):
        raise SMTPException


def test_a_mail_that_does_not_leave_is_tried_again_in_five_minutes(owner, settings):
    make_proved(owner, ago=YEAR)
    sweep_proofs()
    usual, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, f"{__name__}.Away"
    assert mail_all() == []
    settings.EMAIL_BACKEND = usual
    assert mail_all() == []
    age(OwnerNotice.objects, next_try_at=timedelta(minutes=5))
    assert len(mail_all()) == 1


def make_many(user, number: int, *, first: int = 0) -> None:
    SendAs.objects.bulk_create(
        SendAs(
            user=user, send_as_email=f"a{n}@partnerdomain.com", verification_status="accepted",
            verified_at=timezone.now() - YEAR,
        )
        for n in range(first, first + number)
    )  # fmt: skip


def test_a_batch_costs_the_same_queries_whatever_is_in_it(owner, colleague):
    def queries(work) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert work() > 0
        return len(captured)

    counts = []
    for number, first in ((10, 0), (20, 10)):
        make_many(owner, number, first=first)
        make_many(colleague, number, first=first)
        asked = queries(ask_for_old_proofs)
        pass_time(timedelta(weeks=5))
        counts.append((asked, queries(suspend_lapsed)))
    assert counts[0] == counts[1]
    assert SendAs.objects.exclude(suspended_at=None).count() == 60


def test_more_than_one_batch_is_taken_and_no_more_than_the_hours_ration(owner):
    make_many(owner, ASKED_PER_HOUR + 50)
    sweep_proofs()
    sweep_proofs()
    assert OwnerNotice.objects.count() == ASKED_PER_HOUR
    age(SendAs.objects.exclude(asked_at=None), asked_at=timedelta(hours=1))
    sweep_proofs()
    assert OwnerNotice.objects.count() == ASKED_PER_HOUR + 50


@pytest.mark.django_db(transaction=True)
def test_sweeps_at_once_share_the_work(owner):
    make_many(owner, 300)

    def sweep(_number: int) -> None:
        try:
            sweep_proofs()
        finally:
            connection.close()

    for _ in range(2):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(sweep, range(4)))
        sweep_proofs()
        pass_time(timedelta(weeks=5))
    assert OwnerNotice.objects.count() == 600
    assert AuditEvent.objects.filter(name="send_as_suspended").count() == 300


def test_the_list_says_until_when_and_what_happens_then(client, owner):
    make_proved(owner, ago=YEAR)
    sweep_proofs()
    client.force_login(owner)
    row = row_of(read(client, "/settings/"), PARTNER)
    assert "To be proved again" in row
    assert "by our servers on behalf of" in row
    assert "Mail from it leaves as ever until then and is refused afterwards" in row
    assert "Send a code" in row
    pass_time(timedelta(weeks=5))
    sweep_proofs()
    row = row_of(read(client, "/settings/"), PARTNER)
    assert "Suspended" in row
    assert "was not proved again in time" in row
    assert "by our servers" not in row
    assert "Make default" not in row


def test_the_code_is_sent_and_typed_in_the_list(client, owner):
    make_proved(owner, ago=YEAR)
    sweep_proofs()
    pass_time(timedelta(weeks=5))
    sweep_proofs()
    client.force_login(owner)
    client.post("/settings/", {"send_again": PARTNER})
    wrong = client.post("/settings/", {"confirm": PARTNER, "code": "1234 5678"})
    assert "That is not the code" in row_of(wrong.content.decode(), PARTNER)
    answer = client.post(
        "/settings/", {"confirm": PARTNER, "code": code_in(mail.outbox[-1])}, follow=True
    )
    assert f"{PARTNER} is yours" in answer.content.decode()
    assert "Suspended" not in row_of(read(client, "/settings/"), PARTNER)


def test_the_limits_of_mails_hold_for_it_too(owner):
    send_as = make_proved(owner, ago=YEAR)
    sweep_proofs()
    for _ in range(3):
        send_proof(send_as)
        age_mails(timedelta(minutes=2))
    with pytest.raises(ValidationError, match="enough mails"):
        send_proof(send_as)


def test_support_sees_and_finds_it(client, owner, support):
    asked = make_proved(owner, ago=YEAR)
    ask_again(send_as=asked, reason=AGE)
    lapsed = make_proved(owner, ago=YEAR, address="b@partnerdomain.com")
    ask_again(send_as=lapsed, reason=BOUNCE)
    age(SendAs.objects.filter(pk=lapsed.pk), proof_due_at=GRACE[BOUNCE])
    suspend_lapsed()
    client.force_login(support)
    url = page_of(asked, "changelist")
    for value, row in {"asked": asked, "suspended": lapsed}.items():
        html = read(client, f"{url}?proof={value}")
        assert [each for each in (asked, lapsed) if page_of(each) in html] == [row]
    assert "Mail to the address came back" in read(client, page_of(lapsed))

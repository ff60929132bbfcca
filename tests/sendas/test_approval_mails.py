"""Servers that wait for approval: who hears of them, how often, and in which language."""

from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.services.audit import SYSTEM
from accounts.services.people import choose_language, suspend_user
from sendas.models import Approval, ApprovalMail, SmtpMsa
from sendas.services.approval_mails import note_administrators
from sendas.tasks import mail_approvals
from tests.sendas.conftest import make_send_as

pytestmark = pytest.mark.django_db(transaction=True)


def wait_for_approval(user, *, name: str = "a", ago: timedelta = timedelta(minutes=2)) -> SmtpMsa:
    send_as = make_send_as(user, address=f"{name}@x.example")
    return SmtpMsa.objects.create(
        send_as=send_as, host=f"smtp-{name}.x.example", port=587, security_mode="starttls",
        username="canary-user", key_id="x", ciphertext=b"", approval=Approval.WAITING,
        approval_since=Now() - ago,
    )  # fmt: skip


def sweep() -> dict[str, mail.EmailMessage]:
    """The mails that leave now, by who gets them."""
    before = len(mail.outbox)
    for user_id in note_administrators():
        mail_approvals(user_id)
    sent = mail.outbox[before:]
    told = {message.to[0]: message for message in sent}
    assert len(told) == len(sent)
    return told


def pass_time(passed: timedelta) -> None:
    SmtpMsa.objects.update(approval_since=F("approval_since") - passed)
    ApprovalMail.objects.update(
        told_until=F("told_until") - passed, next_try_at=F("next_try_at") - passed
    )


def test_those_who_may_approve_are_told_with_all_that_wait(
    owner, stranger, super_admin, unit_admin, users_admin, reports_admin, support
):
    for number in range(25):
        wait_for_approval(owner, name=f"n{number}")
    wait_for_approval(stranger, name="other")
    told = sweep()
    assert set(told) == {super_admin.primary_address, unit_admin.primary_address}
    message = told[unit_admin.primary_address]
    assert message.subject == "25 servers wait for your approval"
    for body in (message.body, message.alternatives[0].content):
        assert "n0@x.example: smtp-n0.x.example (Yuki Tanaka, user@yourdomain.com)" in body
        assert "and 5 more" in body
        assert "/console/apps/mail/approvals/" in body
        assert "other@" not in body
        assert "canary" not in body
    assert "26 servers" in told[super_admin.primary_address].subject
    assert sweep() == {}


def test_an_administrator_gets_one_mail_an_hour_at_most_and_news_only(
    owner, stranger, super_admin, unit_admin
):
    wait_for_approval(owner)
    assert len(sweep()) == 2
    pass_time(timedelta(minutes=50))
    for number in range(3):
        wait_for_approval(owner, name=f"n{number}")
    assert sweep() == {}
    pass_time(timedelta(minutes=11))
    told = sweep()
    message = told[unit_admin.primary_address]
    assert message.subject == "3 servers wait for your approval"
    assert "a@x.example" not in message.body
    assert "4 servers wait for you in all." in message.body
    pass_time(timedelta(minutes=61))
    wait_for_approval(stranger, name="other")
    assert set(sweep()) == {super_admin.primary_address}


def test_what_has_just_come_is_left_until_it_is_certain_to_be_seen(owner, super_admin):
    wait_for_approval(owner, ago=timedelta(seconds=30))
    assert sweep() == {}
    pass_time(timedelta(seconds=31))
    assert len(sweep()) == 1


def test_what_was_decided_meanwhile_is_no_news(owner, super_admin):
    wait_for_approval(owner)
    [user_id] = note_administrators()
    SmtpMsa.objects.update(approval=Approval.APPROVED)
    mail_approvals(user_id)
    assert mail.outbox == []
    assert sweep() == {}


def test_a_suspended_administrator_hears_nothing(owner, super_admin, unit_admin):
    wait_for_approval(owner)
    suspend_user(actor=SYSTEM, user=unit_admin)
    assert set(sweep()) == {super_admin.primary_address}


def test_each_is_told_in_his_own_language(owner, super_admin, unit_admin):
    choose_language(User.objects.get(pk=unit_admin.pk), "ja")
    wait_for_approval(owner)
    told = sweep()
    assert told[super_admin.primary_address].subject == "1 server waits for your approval"
    assert "承認" in told[unit_admin.primary_address].subject
    assert '<html lang="ja">' in told[unit_admin.primary_address].alternatives[0].content


def test_who_is_to_be_told_is_found_in_the_same_number_of_queries(owner, super_admin, unit_admin):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(note_administrators()) == 2
        return len(captured)

    wait_for_approval(owner)
    first = queries()
    for number in range(10):
        wait_for_approval(owner, name=f"n{number}")
    assert queries() == first

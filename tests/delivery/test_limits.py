"""Recipients per account: never more than the limit, whoever counts at the same moment."""

import asyncio
import uuid
from datetime import timedelta
from smtplib import SMTPRecipientsRefused

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, connections
from django.db.models import F, Sum

from accounts.models import AuditEvent, Privilege, RoleAssignment, User
from accounts.services.audit import SYSTEM
from accounts.services.people import choose_language, move_user
from accounts.services.roles import assign_role
from delivery.limits import Allowance, RecipientLimits, Taken, allowance_of
from delivery.link import Link
from delivery.models import LimitReport, RecipientCount
from delivery.tasks import forget_recipient_counts, mail_limit_report
from policies.guardrails import NO_GUARDRAILS
from smtp.reply import Reply

ALLOWANCE = Allowance(per_hour=10, per_day=25)
ACCOUNT = uuid.uuid4()


def take(recipients, account=ACCOUNT, allowance=ALLOWANCE):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT taken_in FROM take_recipients(%s, %s, %s, %s)",
            [account, recipients, *allowance],
        )
        return cursor.fetchone()[0] is not None


def pass_time(**elapsed):
    # The newest first, so that no bucket meets another.
    for row in RecipientCount.objects.order_by("bucket"):
        RecipientCount.objects.filter(pk=row.pk).update(bucket=F("bucket") - timedelta(**elapsed))


def counted(account=ACCOUNT):
    rows = RecipientCount.objects.filter(account_id=account)
    return rows.aggregate(sum=Sum("recipients"))["sum"] or 0


def test_the_limit_is_reached_exactly_and_what_is_refused_counts_nothing(db):
    assert take(6)
    assert not take(5)
    assert take(4)
    assert not take(1)
    assert counted() == 10


def test_each_account_has_its_own_count_and_its_own_numbers(db):
    other = uuid.uuid4()
    assert take(10)
    assert take(10, other)
    assert take(2, allowance=Allowance(12, 25))
    assert not take(1, other)


def test_an_hour_later_the_hours_limit_is_free_and_the_days_goes_on(db):
    assert take(10)
    pass_time(minutes=60)
    assert not take(1)
    pass_time(minutes=10)
    assert take(10)
    pass_time(minutes=70)
    assert take(5)
    assert not take(1)
    pass_time(hours=22)
    assert take(10)
    assert not take(1)


def test_counts_are_kept_as_long_as_they_count(db):
    take(10)
    pass_time(hours=24)
    forget_recipient_counts()
    assert counted() == 10
    pass_time(hours=1, minutes=1)
    forget_recipient_counts()
    assert not RecipientCount.objects.exists()


@pytest.fixture
def in_loop(transactional_db):
    """Runs a coroutine with the limits of as many processes as it asks for."""

    async def closing_database(function, *args, **kwargs):
        """What delivery.database.Database does, with a connection for each call."""

        def call():
            try:
                return function(*args, **kwargs)
            finally:
                connections.close_all()

        return await asyncio.to_thread(call)

    async def main(work, processes):
        links = [Link() for _ in range(processes)]
        limits = [RecipientLimits(link, closing_database) for link in links]
        try:
            return await work(*limits)
        finally:
            for each, link in zip(limits, links, strict=True):
                await each.settle()
                await link.close()

    return lambda work, processes=1: asyncio.run(main(work, processes))


def test_messages_at_once_are_counted_in_the_order_they_came(owner, colleague, in_loop):
    async def send(limits):
        wanted = [(owner, 6), (colleague, 9), (owner, 5), (owner, 4), (colleague, 1)]
        return await asyncio.gather(
            *(limits.take(user.pk, recipients, ALLOWANCE) for user, recipients in wanted)
        )

    answers = in_loop(send)
    assert [isinstance(answer, Taken) for answer in answers] == [True, True, False, True, True]


def test_parallel_takes_of_many_processes_never_exceed_the_limit(owner, colleague, in_loop):
    users, allowance = (owner, colleague), allowance_of(NO_GUARDRAILS)

    async def send(*processes):
        async def session(limits, number):
            for turn in range(12):
                recipients = 1 + (number + turn) % 4
                # Half of them in the other order.
                for user in users if number % 2 else reversed(users):
                    await limits.take(user.pk, recipients, allowance)

        await asyncio.gather(
            *(session(limits, number) for number in range(8) for limits in processes)
        )

    in_loop(send, processes=4)
    assert allowance == (500, 2_000)
    assert [counted(user.pk) for user in users] == [500, 500]


def test_what_is_given_back_while_others_take_is_counted_right(owner, colleague, in_loop):
    async def send(*processes):
        async def session(limits, user):
            for _turn in range(20):
                taken = await limits.take(user.pk, 3, Allowance(1_000, 1_000))
                limits.give_back(taken)
                await limits.take(user.pk, 1, Allowance(1_000, 1_000))

        await asyncio.gather(
            *(session(limits, user) for limits in processes for user in (owner, colleague))
        )

    in_loop(send, processes=4)
    assert counted(owner.pk) == counted(colleague.pk) == 80


def test_many_messages_at_a_moment_reach_the_limit_and_not_one_more(owner, in_loop):
    async def send(limits):
        return await asyncio.gather(*(limits.take(owner.pk, 1, ALLOWANCE) for _ in range(40)))

    answers = in_loop(send)
    assert sum(isinstance(answer, Taken) for answer in answers) == 10
    assert counted(owner.pk) == 10
    refused = next(answer for answer in answers if isinstance(answer, Reply))
    assert (refused.code, refused.enhanced) == (450, "4.7.1")
    assert "10 recipients an hour: 10 are used up, and this message has 1" in refused.text
    assert LimitReport.objects.count() == 1


def test_what_is_given_back_is_free_again_and_given_back_once(owner, in_loop):
    async def send(limits):
        taken = await limits.take(owner.pk, 10, ALLOWANCE)
        for _ in range(2):
            limits.give_back(taken)
        return [await limits.take(owner.pk, number, ALLOWANCE) for number in (7, 4, 3)]

    answers = in_loop(send)
    assert [isinstance(answer, Taken) for answer in answers] == [True, False, True]


@pytest.mark.parametrize(
    ("recipients", "allowance", "words"),
    [
        (11, ALLOWANCE, "Write to at most 10 at a time."),
        (5, Allowance(100, 4), "Write to at most 4 at a time."),
        (4, Allowance(8, 100), "Send it again in an hour, or ask"),
        (4, Allowance(100, 8), "Send it again tomorrow"),
    ],
)
def test_the_reply_says_what_to_do(owner, in_loop, recipients, allowance, words):
    async def send(limits):
        await limits.take(owner.pk, 2, allowance)
        await limits.take(owner.pk, 2, allowance)
        await limits.take(owner.pk, 2, allowance)
        return await limits.take(owner.pk, recipients, allowance)

    assert words in in_loop(send).text


def exceed(user, in_loop, allowance=ALLOWANCE):
    return in_loop(lambda limits: limits.take(user.pk, allowance.per_hour + 1, allowance))


def test_super_administrators_hear_once_a_day_and_the_audit_too(
    owner, super_admin, unit_admin, in_loop
):
    for _message in range(3):
        exceed(owner, in_loop)
    event = AuditEvent.objects.get(name="recipient_limit_reached")
    assert event.target == owner.primary_address
    assert event.details == {"limit": 10, "window": "hour"}
    report = LimitReport.objects.get()
    for _run in range(2):
        mail_limit_report(report.pk)
    [message] = mail.outbox
    assert message.to == [super_admin.primary_address]
    assert owner.primary_address in message.subject
    for body in (message.body, message.alternatives[0].content):
        assert "more than 10 recipients within an hour" in body
        assert f"/console/accounts/{owner.pk}/" in body
        assert "suspend the account on its page at once" in body
        assert "have got this mail too" not in body
    LimitReport.objects.update(day=F("day") - timedelta(days=1))
    exceed(owner, in_loop)
    assert LimitReport.objects.due().count() == 1


def test_who_administers_the_accounts_of_the_unit_hears_too(
    owner, super_admin, unit_admin, users_admin, reports_admin, support, in_loop
):
    choose_language(users_admin, "ja")
    exceed(owner, in_loop)
    mail_limit_report(LimitReport.objects.get().pk)
    told = {message.to[0]: message for message in mail.outbox}
    assert len(mail.outbox) == len(told) == 2
    delegated = told[users_admin.primary_address]
    for body in (delegated.body, delegated.alternatives[0].content):
        assert f"/console/accounts/{owner.pk}/" in body
        assert "特権管理者にもこのメールが届いています" in body
    assert "宛先" in delegated.subject


def test_of_other_units_and_of_accounts_with_a_role_super_administrators_alone_hear(
    owner, colleague, stranger, super_admin, users_admin, organisation, in_loop
):
    assign_role(
        actor=SYSTEM, user=owner, role=RoleAssignment.Role.UNIT_ADMIN,
        unit=organisation.partner_desk, privileges=[Privilege.USERS],
    )  # fmt: skip
    move_user(actor=SYSTEM, user=colleague, unit=organisation.sales)  # above the owner's
    for account, told in ((stranger, []), (owner, []), (colleague, [users_admin])):
        mail.outbox.clear()
        exceed(account, in_loop)
        mail_limit_report(LimitReport.objects.get(account=account).pk)
        assert {address for message in mail.outbox for address in message.to} == {
            each.primary_address for each in (super_admin, *told)
        }


def test_no_mail_goes_to_who_can_do_nothing(owner, super_admin, in_loop):
    exceed(owner, in_loop)
    # Not by the service, which keeps the last of them.
    User.objects.filter(pk=super_admin.pk).update(suspended=True)
    mail_limit_report(LimitReport.objects.get().pk)
    assert mail.outbox == []


class AwayBackend(EmailBackend):
    def send_messages(self, messages):
        raise ConnectionRefusedError


def test_a_mail_that_does_not_leave_is_tried_again(owner, super_admin, in_loop, settings):
    exceed(owner, in_loop)
    report = LimitReport.objects.get()
    usual = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = f"{__name__}.AwayBackend"
    mail_limit_report(report.pk)
    assert not LimitReport.objects.due().exists()
    settings.EMAIL_BACKEND = usual
    LimitReport.objects.update(next_try_at=F("next_try_at") - timedelta(minutes=5))
    mail_limit_report(report.pk)
    assert len(mail.outbox) == 1
    assert LimitReport.objects.get().mailed_at


class ParticularBackend(EmailBackend):
    """A server that refuses the mail to one address."""

    def send_messages(self, messages):
        if any("sales-users@yourdomain.com" in message.to for message in messages):
            raise SMTPRecipientsRefused({})
        return super().send_messages(messages)


def test_who_has_the_mail_gets_no_second_for_another_who_can_not_get_it(
    owner, super_admin, users_admin, in_loop, settings
):
    exceed(owner, in_loop)
    settings.EMAIL_BACKEND = f"{__name__}.ParticularBackend"
    mail_limit_report(LimitReport.objects.get().pk)
    assert [message.to for message in mail.outbox] == [[super_admin.primary_address]]
    assert LimitReport.objects.get().mailed_at

"""Many accounts at one server that fail within an hour: super administrators hear once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from accounts.models import AuditEvent
from sendas.models import HostIncident, SmtpMsa
from sendas.services.incidents import note_incidents
from sendas.tasks import mail_incident
from tests.sendas.conftest import make_send_as

HOST = "smtp.x.example"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def two_are_bearable(settings) -> None:
    settings.OUTGATE_FAILING_ACCOUNTS = 2


def refuse(user, *, host: str = HOST, name: str = "a", ago: timedelta = timedelta()) -> None:
    send_as = make_send_as(user, address=f"{name}@{host}")
    SmtpMsa.objects.create(
        send_as=send_as, host=host, port=587, security_mode="starttls", username="x",
        key_id="x", ciphertext=b"", refused_at=Now() - ago, refusal="535 5.7.8 no",
    )  # fmt: skip


def find(user, failure: str, *, ago: timedelta = timedelta(), name: str = "c", checked: int = 1):
    """A failed check, `checked` hours ago, in the same trouble since `ago`."""
    SmtpMsa.objects.create(
        send_as=make_send_as(user, address=f"{name}@{HOST}"), host=HOST, port=587,
        security_mode="starttls", username="x", key_id="x", ciphertext=b"",
        checked_at=Now() - timedelta(hours=checked), check_failure=failure,
        failing_since=Now() - ago,
    )  # fmt: skip


def sweep() -> list[mail.EmailMessage]:
    """The mails that leave now."""
    before = len(mail.outbox)
    note_incidents()
    for pk in HostIncident.objects.due().values_list("pk", flat=True):
        mail_incident(pk)
    return mail.outbox[before:]


def test_more_accounts_than_bearable_are_told_once(owner, colleague, stranger, super_admin):
    refuse(owner, ago=timedelta(minutes=50))
    refuse(owner, name="b")
    refuse(colleague)
    assert sweep() == []
    refuse(stranger)
    [message] = sweep()
    assert super_admin.primary_address in message.to
    assert message.subject == f"{HOST} refuses the passwords of 3 accounts"
    for body in (message.body, message.alternatives[0].content):
        assert f"/console/failing-servers/?host={HOST}" in body
    refuse(super_admin)
    assert sweep() == []
    [event] = AuditEvent.objects.filter(name="host_fails")
    assert (event.target, event.details) == (HOST, {"accounts": 3, "trouble": "refused"})


def test_refusals_that_are_spread_out_are_no_incident(owner, colleague, stranger):
    for number, user in enumerate((owner, colleague, stranger)):
        refuse(user, ago=timedelta(minutes=45) * number)
    assert sweep() == []


def test_each_server_counts_by_itself(owner, colleague, stranger):
    for user, host in ((owner, HOST), (colleague, HOST), (stranger, "y.example")):
        refuse(user, host=host)
    assert sweep() == []


def test_after_a_quiet_hour_the_next_one_is_told_again(owner, colleague, stranger, super_admin):
    for user in (owner, colleague, stranger):
        refuse(user)
    assert len(sweep()) == 1
    SmtpMsa.objects.update(refused_at=F("refused_at") - timedelta(hours=2))
    assert sweep() == []
    assert HostIncident.objects.get().ended_at
    SmtpMsa.objects.update(refused_at=Now())
    assert len(sweep()) == 1


def test_since_when_checks_fail_may_not_be_known(owner, colleague, stranger, super_admin):
    """Workers of the release before wrote no `failing_since`."""
    for user in (owner, colleague, stranger):
        find(user, "timeout")
    SmtpMsa.objects.update(failing_since=None)
    assert len(sweep()) == 1
    assert HostIncident.objects.get().begun_at == min(
        SmtpMsa.objects.values_list("checked_at", flat=True)
    )


def test_sweeps_at_once_begin_one_incident(owner, colleague, stranger):
    for user in (owner, colleague, stranger):
        refuse(user)

    def sweep_elsewhere(_number: int) -> None:
        note_incidents()
        connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(sweep_elsewhere, range(4)))
    assert HostIncident.objects.count() == 1
    assert AuditEvent.objects.filter(name="host_fails").count() == 1


@pytest.mark.parametrize(
    ("kinds", "subject", "sentence"),
    [
        (("not_a_mail_server", "timeout", "no_public_address"), "does not answer", "not answer."),
        (("tls_version", "tls_not_offered", "tls_version"), "offers no safe encryption", None),
        (("certificate_expired", "certificate_name", "certificate_unknown"), "certificate", None),
        (("auth_not_offered", "auth_refused", "refused"), "lets nobody sign in at present", None),
    ],
)
def test_what_checks_find_through_the_night_is_told_once_by_its_kind(
    owner, colleague, stranger, super_admin, kinds, subject, sentence
):
    for hours, (user, kind) in enumerate(zip((owner, colleague, stranger), kinds, strict=True)):
        assert sweep() == []
        find(user, kind, ago=timedelta(hours=hours * 2))
    [message] = sweep()
    assert message.subject.startswith(HOST)
    assert subject in message.subject
    assert message.subject.endswith(": 3 accounts")
    begun = f"{HostIncident.objects.get().begun_at:%-d %B %Y, %H:%M} UTC"
    for body in (message.body, message.alternatives[0].content):
        assert f"3 accounts at {HOST} fail, the first since {begun}: the server" in body
        assert sentence is None or sentence in body
        assert "refuses" not in body
        assert f"/console/failing-servers/?host={HOST}" in body
    assert sweep() == []


def test_troubles_of_one_server_are_counted_apart(owner, colleague, stranger, super_admin):
    find(owner, "timeout")
    find(colleague, "certificate_expired")
    refuse(stranger)
    refuse(super_admin)
    assert sweep() == []
    for user in (colleague, stranger):
        find(user, "timeout", name="d")
    refuse(owner)
    assert {message.subject for message in sweep()} == {
        f"{HOST} does not answer: 3 accounts", f"{HOST} refuses the passwords of 3 accounts",
    }  # fmt: skip


def mend(*users) -> None:
    mended = SmtpMsa.objects.filter(send_as__user__in=users)
    mended.update(check_failure="", failing_since=None)


def test_a_forgotten_account_does_not_hide_the_next_outage(owner, colleague, stranger, super_admin):
    find(owner, "timeout", ago=timedelta(days=20))
    for user in (colleague, stranger):
        find(user, "timeout")
    assert len(sweep()) == 1
    mend(colleague, stranger)
    assert sweep() == []
    assert HostIncident.objects.get().ended_at
    for user in (colleague, stranger):
        find(user, "timeout", name="d")
    [message] = sweep()
    assert message.subject == f"{HOST} does not answer: 3 accounts"
    assert "only after no more accounts than 1 were left in this trouble." in message.body


def test_a_number_that_hovers_at_the_threshold_is_one_incident(
    settings, owner, colleague, stranger, super_admin, unit_admin
):
    settings.OUTGATE_FAILING_ACCOUNTS = 4
    for user in (owner, colleague, stranger, super_admin, unit_admin):
        find(user, "timeout")
    assert len(sweep()) == 1
    for _time in range(2):
        mend(owner, colleague)
        assert sweep() == []
        SmtpMsa.objects.update(check_failure="timeout", failing_since=Now())
        assert sweep() == []
    assert HostIncident.objects.get().ended_at is None
    mend(owner, colleague, stranger)
    assert sweep() == []
    assert HostIncident.objects.get().ended_at


def test_a_server_that_refuses_a_password_now_and_then_is_no_outage(
    owner, colleague, stranger, super_admin
):
    for user in (owner, colleague, stranger):
        refuse(user)
    [message] = sweep()
    assert "refused the passwords of no more accounts than 1." in message.body
    SmtpMsa.objects.exclude(send_as__user=owner).update(refused_at=Now() - timedelta(hours=2))
    assert sweep() == []
    assert HostIncident.objects.get().ended_at
    SmtpMsa.objects.update(refused_at=Now())
    assert len(sweep()) == 1


def test_a_check_of_the_day_before_yesterday_and_a_wiped_password_say_nothing(
    owner, colleague, stranger
):
    for user in (owner, colleague, stranger):
        find(user, "timeout", checked=31)
    assert sweep() == []
    SmtpMsa.objects.update(checked_at=Now(), wiped_at=Now(), key_id="")
    assert sweep() == []

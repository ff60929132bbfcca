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
        assert f"/console/refused-passwords/?host={HOST}" in body
    refuse(super_admin)
    assert sweep() == []
    [event] = AuditEvent.objects.filter(name="host_fails")
    assert (event.target, event.details) == (HOST, {"accounts": 3})


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

"""A real worker tells of refused passwords: the owner and the administrators, once each."""

import os

import pytest
import redis
from django.conf import settings as configured

from sendas import tasks
from sendas.models import ApprovalMail, HostIncident, OwnerNotice
from sendas.services.breaker import record_refusal
from tests.delivery.conftest import relay
from tests.processes import WORKER, running, until
from tests.sendas.test_approval_mails import wait_for_approval
from tests.sendas.test_incidents import HOST, refuse

__all__ = ["relay"]
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def broker():
    empty = redis.Redis.from_url(configured.CELERY_BROKER_URL.replace("redis+socket", "unix"))
    empty.flushall()
    yield empty
    empty.close()


@pytest.fixture
def worker(relay, broker):
    """One that has the scripted server as its relay, and few accounts for an incident."""
    environment = {
        "OUTGATE_RELAY_URL": f"smtp://127.0.0.1:{relay.port}",
        "OUTGATE_FAILING_ACCOUNTS": "1",
    }
    with running("mail-worker", WORKER, os.environ | environment) as process:
        process.wait_for(r"\bready\.")
        yield process


def test_each_mail_arrives_once_however_often_it_is_asked_for(
    owner, colleague, stranger, super_admin, relay, broker, worker
):
    for user in (owner, colleague):
        refuse(user)
    msa = owner.send_as.get().smtp_msa
    type(msa).objects.filter(pk=msa.pk).update(refused_at=None)
    assert record_refusal(credential_id=msa.credential_id, reply="535 5.7.8 no")
    notice = OwnerNotice.objects.get()
    tasks.sweep_incidents.delay()
    until(lambda: HostIncident.objects.exists(), 20, lambda: worker.output)
    incident = HostIncident.objects.get()
    wait_for_approval(stranger)
    tasks.sweep_approvals.delay()
    tasks.sweep_notices.delay()
    for _ in range(5):
        tasks.mail_approvals.delay(super_admin.pk)
        tasks.mail_notice.delay(notice.pk)
        tasks.mail_incident.delay(incident.pk)
    until(
        lambda: (
            not OwnerNotice.objects.exists()
            and not HostIncident.objects.filter(mailed_at=None).exists()
            and ApprovalMail.objects.filter(told_until__isnull=False).exists()
        ),
        20,
        lambda: worker.output,
    )
    # Asked to stop, it ends what it has taken.
    until(lambda: not broker.llen("celery"), 20, lambda: worker.output)
    worker.stop()
    assert len(relay.taken) == 3
    [to_owner] = [each for each in relay.taken if owner.primary_address in each.recipients]
    assert b"password" in to_owner.content
    to_administrators = [each for each in relay.taken if each != to_owner]
    assert all(super_admin.primary_address in each.recipients for each in to_administrators)
    subjects = b"".join(each.header for each in to_administrators)
    assert HOST.encode() in subjects
    assert b"1 server waits for your approval" in subjects

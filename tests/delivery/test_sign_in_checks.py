"""Stored passwords are tried once a night: politely, and only those that mail would use."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from accounts.services.audit import SYSTEM
from accounts.services.people import suspend_user
from delivery.sign_in_checks import AT_ONE_HOST, NIGHT, SILENT, check_sign_ins, next_night
from delivery.tasks import check_sign_ins as task
from delivery.tasks import database
from policies.services import database_now
from sendas.models import OwnerNotice, SendAs, SmtpMsa
from tests.delivery.test_outbox_gateway import keep_gateway
from tests.processes import WORKER, running, until
from tests.sendas.conftest import CANARY, make_send_as, move_to_next_cohort
from tests.smtp.certificates import Authority

pytestmark = pytest.mark.django_db(transaction=True)


def make_gateway(user, partner, password: str = CANARY, *, number: int = 1) -> SmtpMsa:
    send_as = make_send_as(user, address=f"n{number}@partnerdomain.com")
    return keep_gateway(send_as, partner.port, password)


def check() -> int:
    return check_sign_ins(database())


def test_a_password_that_works_is_tried_once_a_night(owner, allowed, partner):
    msa = make_gateway(owner, partner)
    assert check() == 1
    assert check() == 0
    assert partner.tried == [CANARY]
    assert partner.senders == []
    msa.refresh_from_db()
    assert msa.checked_at
    assert msa.signed_in_at
    assert (msa.check_failure, msa.refused_at, msa.claimed_until) == ("", None, None)
    night = next_night(database_now())
    assert night <= msa.check_due_at <= night + NIGHT


def test_a_refused_one_opens_the_breaker_and_its_owner_is_told_once(owner, allowed, partner):
    msa = make_gateway(owner, partner, "wrong")
    check()
    SmtpMsa.objects.update(check_due_at=Now())
    assert check() == 0
    assert partner.tried == ["wrong"]
    msa.refresh_from_db()
    assert msa.refused_at
    assert "535" in msa.refusal
    assert msa.check_failure == "auth_refused"
    assert [each.kind for each in OwnerNotice.objects.all()] == ["password-refused"]


@pytest.mark.parametrize("reply", ["454 4.7.0 Later", "421 4.3.2 Closing"])
def test_a_passing_refusal_opens_nothing(owner, allowed, partner, reply):
    partner.sign_in_reply = reply
    msa = make_gateway(owner, partner)
    assert check() == 1
    msa.refresh_from_db()
    assert msa.refused_at is None
    assert msa.check_failure
    assert not OwnerNotice.objects.exists()


def test_a_server_that_does_not_answer_opens_nothing_and_is_left_alone(
    owner, allowed, relay, open_ports
):
    open_ports(relay.port)
    relay.answers["greeting"] = b""
    for number in range(AT_ONE_HOST + 2):
        make_gateway(owner, relay, number=number)
    assert check() == AT_ONE_HOST
    assert relay.reached["greeting"] == AT_ONE_HOST
    assert check() == 0
    checked = SmtpMsa.objects.exclude(checked_at=None)
    assert set(checked.values_list("check_failure", "refused_at")) == {("not_a_mail_server", None)}
    untried = SmtpMsa.objects.filter(checked_at=None)
    assert untried.update(check_due_at=F("check_due_at") - SILENT) == 2  # not those of tonight
    assert check() == 2
    assert not OwnerNotice.objects.exists()


def test_since_when_one_trouble_lasts_is_kept_until_it_ends(owner, allowed, partner):
    msa = make_gateway(owner, partner)
    partner.sign_in_reply = "454 4.7.0 Later"
    check()
    msa.refresh_from_db()
    begun = msa.failing_since
    assert begun == msa.checked_at
    SmtpMsa.objects.update(check_due_at=Now())
    check()
    msa.refresh_from_db()
    assert (msa.failing_since, msa.checked_at > begun) == (begun, True)
    SmtpMsa.objects.update(check_due_at=Now(), check_failure="certificate_expired")
    check()
    msa.refresh_from_db()
    assert msa.failing_since == msa.checked_at > begun  # another trouble
    partner.sign_in_reply = ""
    SmtpMsa.objects.update(check_due_at=Now())
    check()
    msa.refresh_from_db()
    assert (msa.check_failure, msa.failing_since) == ("", None)


def forbid(owner) -> None:
    move_to_next_cohort(owner)


def suspend(owner) -> None:
    suspend_user(actor=SYSTEM, user=owner)


def leave_unproved(_owner) -> None:
    SendAs.objects.update(verification_status="pending")


def let_proof_lapse(_owner) -> None:
    SendAs.objects.update(suspended_at=Now(), asked_at=Now(), proof_due_at=Now())


def wipe(_owner) -> None:
    SmtpMsa.objects.update(wiped_at=Now(), ciphertext=b"", key_id="")


def use(_owner) -> None:
    SmtpMsa.objects.update(signed_in_at=Now() - timedelta(hours=23))


@pytest.mark.parametrize("change", [forbid, suspend, leave_unproved, let_proof_lapse, wipe, use])
def test_what_mail_would_not_use_or_used_today_is_not_tried(owner, allowed, partner, change):
    msa = make_gateway(owner, partner)
    change(owner)
    assert check() == 0
    assert partner.tried == []
    msa.refresh_from_db()
    assert msa.checked_at is None


def test_what_was_used_the_day_before_is_tried(owner, allowed, partner):
    make_gateway(owner, partner)
    SmtpMsa.objects.update(signed_in_at=Now() - timedelta(hours=25))
    assert check() == 1


def test_one_host_is_asked_by_a_few_at_a_time(owner, allowed, partner):
    for number in range(AT_ONE_HOST + 2):
        make_gateway(owner, partner, number=number)
    assert check() == AT_ONE_HOST
    assert check() == 2
    assert len(partner.tried) == AT_ONE_HOST + 2


def test_no_host_is_asked_while_somebody_tries_a_password_there(owner, allowed, partner):
    msa = make_gateway(owner, partner)
    make_gateway(owner, partner, number=2)
    SmtpMsa.objects.filter(pk=msa.pk).update(claimed_until=Now() + timedelta(seconds=30))
    assert check() == 0
    assert partner.tried == []


@pytest.mark.parametrize(
    ("now", "night"),
    [
        (datetime(2026, 11, 24, 0, 59, tzinfo=UTC), datetime(2026, 11, 24, 1, tzinfo=UTC)),
        (datetime(2026, 11, 24, 1, 0, tzinfo=UTC), datetime(2026, 11, 25, 1, tzinfo=UTC)),
        (datetime(2026, 11, 24, 23, 0, tzinfo=UTC), datetime(2026, 11, 25, 1, tzinfo=UTC)),
    ],
)
def test_the_next_night_begins_at_one(now, night):
    assert next_night(now) == night


@pytest.mark.slow
def test_a_real_worker_checks(owner, allowed, partner, authority: Authority):
    good = make_gateway(owner, partner)
    bad = make_gateway(owner, partner, "wrong", number=2)
    environment = {
        "OUTGATE_EGRESS_PORTS": str(partner.port), "SSL_CERT_FILE": str(authority.file),
    }  # fmt: skip
    with running("worker", WORKER, environment) as worker:
        worker.wait_for(r"\bready\.")
        task.delay()
        task.delay()
        checked = SmtpMsa.objects.exclude(checked_at=None)
        until(lambda: checked.count() == 2, 20, lambda: worker.output)
    assert sorted(partner.tried) == sorted([CANARY, "wrong"])
    assert SmtpMsa.objects.get(pk=good.pk).refused_at is None
    assert SmtpMsa.objects.get(pk=bad.pk).refused_at

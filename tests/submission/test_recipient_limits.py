"""The limit of recipients, from the mail program to the administrators' mail."""

import smtplib

import pytest
from django.db.models import Sum
from django.db.models.functions import Now

from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery, LimitReport, RecipientCount
from policies.models import AppliedPolicy, Setting
from tests.processes import BEAT, WORKER, running, until
from tests.submission.conftest import give_scripted_gateway

PRIMARY = "user@yourdomain.com"
RECIPIENTS = ["claire@customer.example", "dan@customer.example"]
MESSAGE = f"From: {PRIMARY}\r\nTo: {RECIPIENTS[0]}\r\n\r\nText\r\n".encode()
OUTSIDE = f"From: {PARTNER_ADDRESS}\r\nTo: {RECIPIENTS[0]}\r\n\r\nText\r\n".encode()

pytestmark = pytest.mark.slow


@pytest.fixture
def client(post_office, app_password):
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


def counted():
    return RecipientCount.objects.aggregate(sum=Sum("recipients"))["sum"] or 0


def use_up(user, recipients):
    RecipientCount.objects.create(account_id=user.pk, bucket=Now(), recipients=recipients)


def test_beyond_the_limit_nothing_goes_and_administrators_hear_at_once(
    client, post_office, owner, super_admin
):
    use_up(owner, 497)
    client.sendmail(PRIMARY, RECIPIENTS, MESSAGE)
    for _message in range(2):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(PRIMARY, RECIPIENTS, MESSAGE)
        assert refused.value.smtp_code == 450
        text = refused.value.smtp_error.decode()
        assert text.startswith("4.7.1 Your account may write to 500 recipients an hour: 499 are")
        assert "Nothing was sent." in text
    client.sendmail(PRIMARY, RECIPIENTS[:1], MESSAGE)
    assert counted() == 500
    assert len(post_office.captured("ours")) == 2
    until(lambda: Delivery.objects.filter(reply__startswith="450 4.7.1").count() == 2, 5)

    relay = f"smtp+starttls://localhost:{post_office.ports['OUTGATE_DEMO_OURS_PORT']}"
    environment = {
        "OUTGATE_RELAY_URL": relay,
        "SSL_CERT_FILE": str(post_office.ca_file.parent / "bundle.pem"),
    }
    with (
        running("worker", WORKER, environment) as worker,
        running("beat", BEAT, environment) as beat,
    ):
        worker.wait_for(r"\bready\.")
        beat.wait_for("is starting")
        until(lambda: LimitReport.objects.get().mailed_at, 15, lambda: worker.output)
    *_messages, report = sorted(post_office.captured("ours"), key=lambda each: len(str(each)))
    assert report["X-Envelope-To"] == super_admin.primary_address
    assert PRIMARY in report["Subject"]
    assert len(post_office.captured("ours")) == 3


def test_a_unit_has_limits_of_its_own(client, post_office, owner):
    AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_GUARDRAILS, version=1,
        value={"recipients": {"per_hour": 3, "per_day": None}},
    )  # fmt: skip
    post_office.hears_of_changes()
    client.sendmail(PRIMARY, RECIPIENTS, MESSAGE)
    with pytest.raises(smtplib.SMTPDataError, match="may write to 3 recipients an hour: 2 are"):
        client.sendmail(PRIMARY, RECIPIENTS, MESSAGE)


@pytest.fixture
def gateway(owner, post_office):
    give_scripted_gateway(owner, post_office)


@pytest.mark.parametrize(
    ("verb", "answer", "left"),
    [
        ("AUTH", b"454 4.7.0 Try later\r\n", 0),
        ("RCPT", b"550 5.1.1 No such user\r\n", 0),
        ("DATA", b"554 5.5.0 Not today\r\n", 0),
        (".", b"552 5.3.4 Too big after all\r\n", 2),
    ],
)  # fmt: skip
def test_what_is_refused_before_the_final_dot_does_not_count(
    client, post_office, gateway, verb, answer, left
):
    with post_office.upstream(**{verb: answer}), pytest.raises(smtplib.SMTPDataError):
        client.sendmail(PRIMARY, RECIPIENTS, OUTSIDE)
    until(lambda: counted() == left, 5)


def test_a_message_that_is_broken_off_does_not_count(client, post_office):
    client.mail(PRIMARY)
    client.rcpt(RECIPIENTS[0])
    client.docmd("DATA")
    client.send(MESSAGE)
    until(lambda: counted() == 1, 5)
    client.close()
    until(lambda: counted() == 0, 5)

"""What the list says of an own server that fails."""

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.services.audit import SYSTEM
from policies.models import AppliedPolicy, Setting
from sendas.models import SmtpMsa
from sendas.services.addresses import set_gateway
from sendas.services.breaker import note_sign_in, record_refusal
from smtp.failure import FailureKind
from tests.sendas.conftest import PARTNER, gateway_at, make_send_as
from tests.sendas.pages import row_of


def test_a_stopped_server_is_told_with_its_reply(page, with_gateway):
    reply = "535 5.7.8 <b>authentication</b> failed"
    record_refusal(credential_id=with_gateway.smtp_msa.credential_id, reply=reply)
    html = page()
    row = row_of(html, PARTNER)
    assert "localhost · stopped" in row
    assert "nothing left by another server" in row
    assert "535 5.7.8 &lt;b&gt;authentication" in html
    assert f'href="/settings/send-as/{with_gateway.pk}/edit/#id_password"' in html


@pytest.mark.parametrize(
    ("choice", "badge", "told"),
    [
        ("refuse", "localhost · stopped", "Mail from this address is refused until"),
        ("hold", "localhost · stopped", "Mail from this address waits until"),
        (
            "our_servers",
            "by our servers on behalf of user@yourdomain.com",
            "mail from this address leaves by our servers on behalf of user@yourdomain.com",
        ),
    ],
)
@pytest.mark.parametrize("wiped", [False, True])
def test_without_a_password_the_list_says_what_happens_with_mail(
    page, owner, with_gateway, choice, badge, told, wiped
):
    AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.GATEWAY_FAILURE,
        value={"choice": choice}, version=1,
    )  # fmt: skip
    if wiped:
        SmtpMsa.objects.update(wiped_at=Now(), key_id="", ciphertext=b"")
    else:
        record_refusal(credential_id=with_gateway.smtp_msa.credential_id, reply="535 5.7.8 No")
    html = page()
    row = row_of(html, PARTNER)
    assert badge in row
    assert told in row
    assert "may not be used" not in row
    assert ("Reply of the server: 535 5.7.8 No" in row) is not wiped
    assert f'href="/settings/send-as/{with_gateway.pk}/edit/#id_password"' in html
    assert f'href="/settings/send-as/{with_gateway.pk}/by-our-servers/"' in html


@pytest.mark.parametrize(
    ("kind", "told", "topic"),
    [
        (
            FailureKind.CERTIFICATE_EXPIRED,
            "localhost has expired",
            "certificate-expired",
        ),
        (FailureKind.CERTIFICATE_NAME, "for another name than localhost", "certificate-name"),
        (FailureKind.TLS_VERSION, "outdated kind of TLS", "old-encryption"),
        (FailureKind.TIMEOUT, "No mail server answers like that", "no-mail-server"),
        (FailureKind.AUTH_REFUSED, "stopped answering at the sign-in", "put-off"),
    ],
)
def test_a_failed_check_is_told_to_its_owner(page, with_gateway, kind, told, topic):
    assert "The last check" not in page()
    SmtpMsa.objects.update(check_failure=kind, checked_at=Now())
    html = page()
    row = row_of(html, PARTNER)
    assert "The last check of localhost failed" in row
    assert told in row
    assert "Each message is still tried there" in row
    assert f'href="/settings/help/errors/#{topic}"' in html
    note_sign_in(SmtpMsa.objects.get().credential_id)
    assert "The last check" not in page()


def test_each_kind_of_failure_has_words(page, with_gateway):
    for kind in FailureKind:
        SmtpMsa.objects.update(check_failure=kind, checked_at=Now())
        assert "The last check of localhost failed" in page()


def test_more_failed_checks_take_no_more_queries(page, owner, partner, with_gateway):
    other = make_send_as(owner, address="second@partnerdomain.com")
    set_gateway(actor=SYSTEM, send_as=other, gateway=gateway_at(partner.port))
    SmtpMsa.objects.filter(send_as=with_gateway).update(
        check_failure=FailureKind.CERTIFICATE_NAME, checked_at=Now()
    )
    assert page().count("The last check of") == 1
    with CaptureQueriesContext(connection) as one:
        page()
    SmtpMsa.objects.update(check_failure=FailureKind.CERTIFICATE_NAME, checked_at=Now())
    with CaptureQueriesContext(connection) as two:
        assert page().count("The last check of") == 2
    assert len(two) == len(one)

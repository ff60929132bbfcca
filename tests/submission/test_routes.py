"""Each route over real sockets: what arrives where, with which envelope and headers."""

import smtplib
import ssl
from email import policy
from email.message import EmailMessage

import pytest

from accounts.models import AppPassword
from accounts.services.audit import SYSTEM
from accounts.services.people import add_alias, suspend_user
from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery
from policies.models import AppliedPolicy, Setting
from sendas.credentials import seal
from sendas.models import SendAs, SmartHostCredential, SmtpMsa
from sendas.services.outbound_gateway import binding_of_sign_in
from tests.processes import until
from tests.submission.conftest import apply_policy, set_gateway

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"

pytestmark = pytest.mark.slow


def write(from_address=PRIMARY, **fields) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"Yuki Tanaka <{from_address}>"
    message["To"] = RECIPIENT
    message["Subject"] = "Offer for November"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content("As discussed.\n.\nA line of one dot stands above.\n")
    return message


def wire(*args, **fields) -> bytes:
    return write(*args, **fields).as_bytes(policy=policy.SMTP)


@pytest.fixture
def client(post_office, app_password):
    tls = ssl.create_default_context(cafile=post_office.ca_file)
    with smtplib.SMTP("localhost", post_office.port, timeout=20) as client:
        client.starttls(context=tls)
        client.login(PRIMARY, app_password)
        yield client


def only(messages):
    assert len(messages) == 1
    return messages[0]


def delivery_log(state) -> Delivery:
    until(lambda: Delivery.objects.filter(state=state).exists(), 5)
    return Delivery.objects.get()


def test_the_primary_address_leaves_by_our_servers_as_itself(client, post_office):
    client.send_message(write(Bcc="hidden@customer.example", Sender="boss@yourdomain.com"))
    message = only(post_office.captured("ours"))
    assert message["X-Envelope-From"] == PRIMARY
    assert message["X-Envelope-To"] == "claire@customer.example, hidden@customer.example"
    assert message["Sender"] is None
    assert message["Bcc"] is None
    assert message["Date"]
    assert message["Message-ID"].endswith("@yourdomain.com>")
    assert "\n.\n" in message.get_payload().replace("\r\n", "\n")
    assert post_office.captured("partner") == []


def test_received_names_neither_the_login_nor_the_clients_address(client, post_office):
    client.send_message(write())
    ours = only(post_office.captured("ours")).get_all("Received")[1]
    assert "mail.yourdomain.com" in ours
    assert "ESMTPSA" in ours
    assert "127.0.0.1" not in ours
    assert "user@" not in ours


def test_the_log_says_where_it_went_and_why(client, post_office, owner):
    client.send_message(write())
    delivery = delivery_log(Delivery.State.DELIVERED)
    assert delivery.account == owner
    assert delivery.route == "default"
    assert delivery.explanation["rule"] == "primary"
    assert delivery.reply.startswith("250 ")
    assert delivery.tls_version.startswith("TLSv1.")
    assert [each.address for each in delivery.recipients.all()] == [RECIPIENT]
    assert delivery.message_id == only(post_office.captured("ours"))["Message-ID"]


def test_an_own_alias_is_its_own_envelope_sender(client, post_office, owner):
    add_alias(actor=SYSTEM, user=owner, address="yuki@yourdomain.com")
    client.send_message(write("yuki@yourdomain.com"))
    message = only(post_office.captured("ours"))
    assert (message["X-Envelope-From"], message["Sender"]) == ("yuki@yourdomain.com", None)


def test_a_verified_address_without_a_gateway_says_on_whose_behalf(client, post_office, owner):
    SendAs.objects.create(user=owner, send_as_email=PARTNER_ADDRESS, verification_status="accepted")
    apply_policy(owner, allowed=True, version=1)
    client.send_message(write(PARTNER_ADDRESS))
    message = only(post_office.captured("ours"))
    assert message["X-Envelope-From"] == message["Sender"] == PRIMARY
    assert PARTNER_ADDRESS in message["From"]
    assert post_office.captured("partner") == []


def test_a_gateway_carries_it_alone_and_the_primary_address_is_nowhere(
    client, post_office, owner, partner_address
):
    apply_policy(owner, allowed=True, version=1)
    client.send_message(write(PARTNER_ADDRESS))
    raw = only(post_office.raw("partner"))
    message = only(post_office.captured("partner"))
    assert message["X-Envelope-From"] == PARTNER_ADDRESS
    assert message["Sender"] is None
    assert PRIMARY.encode() not in raw
    assert post_office.captured("ours") == []
    delivery = delivery_log(Delivery.State.DELIVERED)
    assert (delivery.route, delivery.explanation["deciding_unit"]) == ("gateway", "Partner desk")


def name_outbound_gateway(user, post_office):
    """What a wave leaves behind: another server carries the unit's default mail."""
    row = SmartHostCredential(
        host="localhost", port=post_office.upstream_port, security_mode="ssl", username="outgate",
    )  # fmt: skip
    row.key_id, row.ciphertext = seal("a password", binding_of_sign_in(row))
    row.save()
    AppliedPolicy.objects.create(
        cohort=user.cohort, unit=user.unit, setting=Setting.OUTBOUND_GATEWAY, version=1,
        value={"server": {
            "host": row.host, "port": row.port, "security_mode": row.security_mode,
            "credential_id": str(row.pk),
        }},
    )  # fmt: skip


def test_the_outbound_gateway_of_a_unit_carries_its_default_mail(client, post_office, owner):
    name_outbound_gateway(owner, post_office)
    post_office.hears_of_changes()
    with post_office.upstream() as upstream:
        client.send_message(write())
        assert upstream.dots == 1
    assert post_office.captured("ours") == []
    delivery = delivery_log(Delivery.State.DELIVERED)
    assert (delivery.route, delivery.explanation["outbound"]) == ("default", "Partner desk")


def test_an_outbound_gateway_that_refuses_us_is_replaced_by_nothing(client, post_office, owner):
    name_outbound_gateway(owner, post_office)
    post_office.hears_of_changes()
    refusing = post_office.upstream(AUTH=b"535 5.7.8 No\r\n")
    with refusing, pytest.raises(smtplib.SMTPDataError, match="refuses our sign-in"):
        client.send_message(write())
    assert post_office.captured("ours") == post_office.captured("partner") == []


def test_policy_off_sends_it_by_our_servers_and_never_tries_the_credential(
    client, post_office, owner, partner_address
):
    apply_policy(owner, allowed=False, version=1)
    client.send_message(write(PARTNER_ADDRESS))
    message = only(post_office.captured("ours"))
    assert message["X-Envelope-From"] == message["Sender"] == PRIMARY
    assert post_office.captured("partner") == []


def test_an_open_session_follows_the_policy_from_message_to_message(
    client, post_office, owner, partner_address
):
    for version, (allowed, server) in enumerate(
        [(False, "ours"), (True, "partner"), (False, "ours"), (True, "partner")], start=1
    ):
        apply_policy(owner, allowed=allowed, version=version)
        post_office.hears_of_changes()
        post_office.clear()
        client.send_message(write(PARTNER_ADDRESS))
        other = {"ours": "partner", "partner": "ours"}[server]
        assert (len(post_office.raw(server)), len(post_office.raw(other))) == (1, 0)
    # The log tells for good which version each was decided by, and whose.
    until(lambda: Delivery.objects.exclude(finished_at=None).count() == 4, 5)
    told = Delivery.objects.order_by("created_at").values_list("route", "explanation__version")
    assert list(told) == [("default", 1), ("gateway", 2), ("default", 3), ("gateway", 4)]
    units = Delivery.objects.values_list("explanation__deciding_unit", "explanation__cohort")
    assert set(units) == {("Partner desk", owner.cohort)}


def test_a_read_receipt_keeps_its_empty_envelope_sender(
    client, post_office, owner, partner_address
):
    apply_policy(owner, allowed=True, version=1)
    for address, server in ((PRIMARY, "ours"), (PARTNER_ADDRESS, "partner")):
        client.sendmail("", [RECIPIENT], wire(address))
        assert only(post_office.captured(server))["X-Envelope-From"] == "<>"


REFUSED = [
    ("stranger@partner.example", "is not one of your addresses"),
    ("colleague@yourdomain.com", "is not one of your addresses"),
]


@pytest.mark.parametrize(("address", "words"), REFUSED)
def test_a_from_that_is_not_the_accounts_is_refused(client, post_office, colleague, address, words):
    with pytest.raises(smtplib.SMTPDataError) as refused:
        client.sendmail(PRIMARY, [RECIPIENT], wire(address))
    assert refused.value.smtp_code == 550
    assert refused.value.smtp_error.startswith(b"5.7.1 ")
    assert words in refused.value.smtp_error.decode()
    with pytest.raises(smtplib.SMTPDataError, match=words):
        client.sendmail("", [RECIPIENT], wire(address))  # not as a read receipt either
    assert post_office.raw("ours") == post_office.raw("partner") == []
    until(lambda: Delivery.objects.exclude(finished_at=None).count() == 2, 5)
    for delivery in Delivery.objects.all():
        assert (delivery.state, delivery.explanation["rule"]) == ("refused", "not_owned")


def test_an_address_that_waits_for_proof_is_refused(client, post_office, owner):
    SendAs.objects.create(user=owner, send_as_email=PARTNER_ADDRESS, verification_status="pending")
    with pytest.raises(smtplib.SMTPDataError, match="not verified yet"):
        client.send_message(write(PARTNER_ADDRESS))
    assert post_office.raw("ours") == post_office.raw("partner") == []


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"From: user@yourdomain.com\r\nFrom: user@yourdomain.com\r\n", b"2 From fields"),
        (b"Subject: none\r\n", b"no From field"),
        (b"From: a group: user@yourdomain.com;\r\n", b"From field"),
        (b"From: user@yourdomain.com, boss@yourdomain.com\r\n", b"From field"),
        (b"From : user@yourdomain.com\r\n", b"header line"),
        (b" From: user@yourdomain.com\r\n", b"header line"),
    ],
)  # fmt: skip
def test_a_header_that_two_readers_could_read_differently_is_refused(
    client, post_office, header, words
):
    client.mail(PRIMARY)
    client.rcpt(RECIPIENT)
    code, text = client.data(header + b"To: claire@customer.example\r\n\r\nText\r\n")
    assert (code // 100, words in text) == (5, True), text
    assert post_office.raw("ours") == post_office.raw("partner") == []


def test_a_resent_field_names_own_addresses_only(client, post_office):
    client.send_message(write(Resent_From=PRIMARY), PRIMARY, [RECIPIENT])
    with pytest.raises(smtplib.SMTPDataError, match="Resent field"):
        client.sendmail(PRIMARY, [RECIPIENT], wire(Resent_From="boss@yourdomain.com"))
    assert len(post_office.raw("ours")) == 1


def test_a_loop_ends(client, post_office):
    received = "Received: by a.example with SMTP; Tue, 24 Nov 2026 10:00:00 +0000\r\n" * 31
    with pytest.raises(smtplib.SMTPDataError, match=r"5\.4\.6"):
        client.sendmail(PRIMARY, [RECIPIENT], received.encode() + wire())
    assert post_office.raw("ours") == []


def test_a_wrong_gateway_password_is_told_at_once_and_not_tried_again(
    client, post_office, owner, partner_address
):
    apply_policy(owner, allowed=True, version=1)
    SmtpMsa.objects.all().delete()
    set_gateway(partner_address, post_office, "not the password")
    for _attempt in range(2):
        with pytest.raises(smtplib.SMTPDataError, match="no longer accepts the stored password"):
            client.send_message(write(PARTNER_ADDRESS))
        assert SmtpMsa.objects.filter(refused_at__isnull=False).exists()
    rules = Delivery.objects.values_list("explanation__rule", flat=True)
    until(lambda: set(rules.all()) == {"gateway", "gateway_broken"}, 5)
    assert SmtpMsa.objects.get().refusal.startswith("535 ")
    assert post_office.raw("ours") == post_office.raw("partner") == []
    assert "not the password" not in post_office.log


def test_a_certificate_for_another_name_gets_no_password(
    client, post_office, owner, partner_address
):
    apply_policy(owner, allowed=True, version=1)
    SmtpMsa.objects.all().delete()
    # Resolves to loopback as well, and the demo's certificate does not name it.
    set_gateway(partner_address, post_office, post_office.partner_password, host="127.0.0.2")
    with pytest.raises(smtplib.SMTPDataError, match=r"can't be reached|certificate"):
        client.send_message(write(PARTNER_ADDRESS))
    assert post_office.raw("ours") == post_office.raw("partner") == []


def test_an_unreachable_gateway_is_told_and_nothing_goes_another_way(
    client, post_office, owner, partner_address
):
    apply_policy(owner, allowed=True, version=1)

    SmtpMsa.objects.all().delete()
    set_gateway(partner_address, post_office, post_office.partner_password, host="10.0.0.1")
    with pytest.raises(smtplib.SMTPDataError, match="can't be reached") as refused:
        client.send_message(write(PARTNER_ADDRESS))
    assert refused.value.smtp_code == 451
    assert post_office.raw("ours") == post_office.raw("partner") == []


def test_a_revoked_app_password_ends_the_right_of_an_open_session(client, post_office):
    AppPassword.objects.update(revoked_at="2026-01-01T00:00Z")
    with pytest.raises(smtplib.SMTPDataError, match="revoked"):
        client.send_message(write())
    assert post_office.raw("ours") == []


def test_a_suspended_account_sends_nothing(client, post_office, owner):
    suspend_user(actor=SYSTEM, user=owner)
    with pytest.raises(smtplib.SMTPDataError, match="suspended"):
        client.send_message(write())
    assert post_office.raw("ours") == []

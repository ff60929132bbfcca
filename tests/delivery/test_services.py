"""What the decision is told of an account."""

from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain
from delivery.services import load_account
from sendas.models import SendAs, SmtpMsa

OUTSIDE = "user.name@partner.example"


def test_a_domain_that_becomes_the_organisations_own_has_no_gateways_any_more(owner):
    send_as = SendAs.objects.create(
        user=owner, send_as_email=OUTSIDE, verification_status="accepted"
    )
    SmtpMsa.objects.create(
        send_as=send_as, host="smtp.partner.example", port=587, security_mode="starttls",
        username=OUTSIDE, key_id="test", ciphertext=b"",
    )  # fmt: skip
    assert load_account(owner).outside[OUTSIDE].gateway
    create_domain(actor=SYSTEM, name="partner.example")
    assert load_account(owner).outside[OUTSIDE].gateway is None


def test_a_row_for_an_alias_that_is_gone_is_worth_nothing(owner):
    SendAs.objects.create(user=owner, send_as_email="old@yourdomain.com", verification_status="")
    assert not load_account(owner).owns("old@yourdomain.com")


def test_loading_an_account_takes_the_same_queries_however_many_addresses(
    owner, django_assert_num_queries
):
    for number in range(20):
        SendAs.objects.create(user=owner, send_as_email=f"{number}@x.example")
    with django_assert_num_queries(5):
        load_account(owner)

"""An own server and its password: kept, changed, taken away."""

import pytest
from django.core.exceptions import ValidationError
from django.db.models.functions import Now

from accounts.services.audit import SYSTEM
from sendas.models import SendAs, SmtpMsa
from sendas.services.addresses import (
    delete_address,
    gateway_password,
    may_have_gateway,
    remove_gateway,
    set_gateway,
)
from sendas.services.breaker import claim_credential, record_refusal
from sendas.services.outcomes import ConnectionTestError
from sendas.services.proof import send_proof
from sendas.services.wiping import wipe_passwords
from tests.sendas.conftest import CANARY, gateway_at, make_send_as
from tests.sendas.test_addresses import add


def set_to(send_as, gateway) -> None:
    set_gateway(actor=SYSTEM, send_as=send_as, gateway=gateway)


def test_a_server_for_an_address_that_was_deleted_meanwhile_is_told(owner, allowed, partner):
    send_as = make_send_as(owner)
    SendAs.objects.all().delete()
    with pytest.raises(ValidationError, match="is not in your list"):
        set_to(send_as, gateway_at(partner.port))
    with pytest.raises(ValidationError, match="is not in your list"):
        remove_gateway(actor=SYSTEM, send_as=send_as)
    assert not SmtpMsa.objects.exists()


def test_what_was_found_of_one_password_is_not_said_of_the_next(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    old = SmtpMsa.objects.get()
    SmtpMsa.objects.update(checked_at=Now(), check_failure="auth_refused")
    assert claim_credential(old.credential_id)
    set_to(send_as, gateway_at(partner.port))
    new = SmtpMsa.objects.get()
    assert (new.checked_at, new.check_failure) == (None, "")
    assert claim_credential(new.credential_id)  # nobody waits for the end of the other attempt


def test_a_gateway_is_kept_only_after_the_server_let_us_in(owner, allowed, partner):
    with pytest.raises(ConnectionTestError):
        add(owner, gateway=gateway_at(partner.port, password="wrong"))
    assert not SendAs.objects.exists()
    send_as = add(owner, gateway=gateway_at(partner.port))
    assert gateway_password(send_as.smtp_msa) == CANARY
    assert send_as.smtp_msa.signed_in_at is not None


def test_no_gateway_where_the_policy_is_off_and_the_server_is_not_even_asked(owner, partner):
    with pytest.raises(ValidationError, match="off for your account"):
        add(owner, gateway=gateway_at(partner.port))
    assert partner.tried == []
    assert not SendAs.objects.exists()


def test_no_gateway_for_an_address_inside_the_own_domains(owner, allowed, partner):
    address = "team@yourdomain.com"
    assert not may_have_gateway(owner, address)
    with pytest.raises(ValidationError, match="inside the organisation's domains"):
        add(owner, address=address, gateway=gateway_at(partner.port))
    assert partner.tried == []


def test_an_empty_password_keeps_the_stored_one_for_the_same_server_only(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    first = SmtpMsa.objects.get()
    set_to(send_as, gateway_at(partner.port, password=""))
    assert gateway_password(SmtpMsa.objects.get()) == CANARY
    assert SmtpMsa.objects.get().credential_id != first.credential_id
    for change in (
        {"host": "127.0.0.1"},
        {"port": 587},
        {"security_mode": "ssl"},
        {"username": "other@partnerdomain.com"},
    ):
        with pytest.raises(ValidationError) as refusal:
            set_to(send_as, gateway_at(partner.port)._replace(**change, password=""))
        assert "Type the password" in refusal.value.message_dict["password"][0]
    assert partner.tried == [CANARY, CANARY]


def test_a_wiped_password_is_asked_for_and_the_new_one_works(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    wipe_passwords(actor=SYSTEM, host="localhost")
    with pytest.raises(ValidationError) as refusal:
        set_to(send_as, gateway_at(partner.port, password=""))
    assert "the stored one was deleted" in refusal.value.message_dict["password"][0]
    set_to(send_as, gateway_at(partner.port))
    assert SmtpMsa.objects.get().works
    assert gateway_password(SmtpMsa.objects.get()) == CANARY


def test_a_stored_password_that_can_not_be_read_is_asked_for_again(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    SmtpMsa.objects.update(key_id="gone")
    with pytest.raises(ValidationError) as refusal:
        set_to(send_as, gateway_at(partner.port, password=""))
    assert "can't be read any more" in refusal.value.message_dict["password"][0]


def test_a_refused_change_leaves_the_old_gateway(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    before = SmtpMsa.objects.values().get()
    with pytest.raises(ConnectionTestError):
        set_to(send_as, gateway_at(partner.port, password="wrong"))
    assert SmtpMsa.objects.values().get() == before


def test_a_change_of_the_server_voids_a_proof_under_way(owner, allowed, partner):
    send_as = add(owner, gateway=gateway_at(partner.port))
    send_proof(send_as)
    set_to(send_as, gateway_at(partner.port))
    assert not send_as.proofs.exists()
    assert SendAs.objects.get().is_pending


def test_taking_the_server_away_voids_a_proof_under_way_and_wipes_the_password(
    owner, allowed, partner
):
    send_as = add(owner, gateway=gateway_at(partner.port))
    send_proof(send_as)
    remove_gateway(actor=SYSTEM, send_as=send_as)
    assert not send_as.proofs.exists()
    assert not SmtpMsa.objects.exists()


def test_the_password_goes_with_its_address_and_with_its_account(owner, allowed, partner):
    first, second = make_send_as(owner), make_send_as(owner, address="b@partnerdomain.com")
    for send_as in (first, second):
        set_to(send_as, gateway_at(partner.port))
    delete_address(actor=SYSTEM, send_as=first)
    assert SmtpMsa.objects.get().send_as == second
    owner.delete()
    assert not SmtpMsa.objects.exists()


def test_another_server_leaves_a_verified_address_verified(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    remove_gateway(actor=SYSTEM, send_as=send_as)
    assert SendAs.objects.get().is_accepted


def test_a_refusal_is_kept_once_and_gone_with_a_new_password(owner, allowed, partner):
    send_as = make_send_as(owner)
    set_to(send_as, gateway_at(partner.port))
    credential_id = SmtpMsa.objects.get().credential_id
    record_refusal(credential_id=credential_id, reply="535 5.7.8 first")
    record_refusal(credential_id=credential_id, reply="535 5.7.8 second")
    assert SmtpMsa.objects.get().refusal == "535 5.7.8 first"
    set_to(send_as, gateway_at(partner.port))
    record_refusal(credential_id=credential_id, reply="late, about the old password")
    assert SmtpMsa.objects.get().refused_at is None

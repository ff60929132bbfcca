"""Passwords at rest: bound to row and server, under a ring of keys, nowhere in clear."""

import base64
import os
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception
from django.urls import reverse
from django.views.debug import ExceptionReporter

from sendas import credentials
from sendas.credentials import Binding, CredentialError, Sealed, key_ring, seal, unseal
from sendas.models import SmtpMsa
from sendas.services.addresses import gateway_password
from tests.secrets import found_in
from tests.sendas.conftest import CANARY, PARTNER, make_send_as

BINDING = Binding(1, "smtp.partnerdomain.com", 587, "starttls", "user.name@partnerdomain.com")


@pytest.fixture
def ring(settings):
    """Sets the key ring: `ring("new", "old")` encrypts with "new"."""
    keys = {name: base64.b64encode(os.urandom(32)).decode() for name in ("old", "new")}

    def use(*names: str) -> None:
        settings.OUTGATE_CREDENTIAL_KEYS = [f"{name}:{keys[name]}" for name in names]
        key_ring.cache_clear()

    yield use
    key_ring.cache_clear()


@pytest.fixture
def msa(with_gateway) -> SmtpMsa:
    return with_gateway.smtp_msa


def test_what_is_sealed_comes_back_and_never_looks_the_same():
    first, second = seal(CANARY, BINDING), seal(CANARY, BINDING)
    assert unseal(first, BINDING) == unseal(second, BINDING) == CANARY
    assert first.ciphertext != second.ciphertext
    assert CANARY.encode() not in first.ciphertext


@pytest.mark.parametrize(
    "change",
    [
        {"owner": 2},
        {"host": "smtp.evil.example"},
        {"port": 465},
        {"security_mode": "ssl"},
        {"username": "other@partnerdomain.com"},
    ],
)
def test_it_decrypts_for_no_other_row_or_server(change):
    with pytest.raises(CredentialError, match="another server"):
        unseal(seal(CANARY, BINDING), BINDING._replace(**change))


def test_a_changed_octet_does_not_decrypt():
    sealed = seal(CANARY, BINDING)
    bent = sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1])
    with pytest.raises(CredentialError):
        unseal(Sealed(sealed.key_id, bent), BINDING)


def test_the_first_key_encrypts_and_the_others_still_decrypt(ring):
    ring("old")
    old = seal(CANARY, BINDING)
    assert old.key_id == "old"
    ring("new", "old")
    assert seal(CANARY, BINDING).key_id == "new"
    assert unseal(old, BINDING) == CANARY
    ring("new")
    with pytest.raises(CredentialError, match="old is not in the key ring"):
        unseal(old, BINDING)


@pytest.mark.parametrize("keys", [[], ["no-colon"], ["short:AAAA"], [":" + "A" * 43 + "="]])
def test_a_malformed_ring_stops_with_its_reason(settings, keys):
    settings.OUTGATE_CREDENTIAL_KEYS = keys
    key_ring.cache_clear()
    with pytest.raises(ImproperlyConfigured, match="OUTGATE_CREDENTIAL_KEYS"):
        key_ring()
    key_ring.cache_clear()


def test_a_ciphertext_moved_to_another_row_or_host_does_not_decrypt(msa, colleague):
    theirs = make_send_as(colleague)
    SmtpMsa.objects.create(
        send_as=theirs, host=msa.host, port=msa.port, security_mode=msa.security_mode,
        username=msa.username, key_id=msa.key_id, ciphertext=msa.ciphertext,
    )  # fmt: skip
    with pytest.raises(CredentialError):
        gateway_password(SmtpMsa.objects.get(send_as=theirs))
    SmtpMsa.objects.filter(pk=msa.pk).update(host="smtp.evil.example")
    with pytest.raises(CredentialError):
        gateway_password(SmtpMsa.objects.get(pk=msa.pk))


def test_errors_name_no_password(msa):
    SmtpMsa.objects.update(host="smtp.evil.example")
    with pytest.raises(CredentialError) as caught:
        gateway_password(SmtpMsa.objects.get())
    assert CANARY not in repr(caught.value)
    assert CANARY not in repr(msa.__dict__)


@pytest.fixture
def fault(client):
    """The report of the one fault that a request ended in, as Django writes it for operators."""
    client.raise_request_exception = False
    reports: list[str] = []

    def report(request, **_kwargs) -> None:
        reporter = ExceptionReporter(request, *sys.exc_info())
        reports.append(reporter.get_traceback_text() + reporter.get_traceback_html())

    got_request_exception.connect(report, weak=False)
    yield reports
    got_request_exception.disconnect(report)


@pytest.mark.parametrize("page", ["add", "edit"])
def test_no_report_of_a_fault_holds_the_password(
    client, owner, allowed, partner, settings, fault, page
):
    """The key ring is broken: the password was typed and tested, and can't be sealed."""
    client.force_login(owner)
    send_as = make_send_as(owner, address="other@partnerdomain.com")
    client.post(reverse("sendas:add"), {"display_name": "User Name", "address": PARTNER})
    url = {
        "add": reverse("sendas:server", query={"address": PARTNER}),
        "edit": reverse("sendas:edit", args=[send_as.pk]),
    }[page]
    settings.OUTGATE_CREDENTIAL_KEYS = []
    key_ring.cache_clear()
    form = {
        "display_name": "User Name", "route": "own", "host": "localhost", "port": partner.port,
        "security_mode": "starttls", "username": PARTNER, "password": CANARY,
    }  # fmt: skip
    answer = client.post(url, form)
    key_ring.cache_clear()
    assert answer.status_code == 500
    assert partner.tried == [CANARY]
    [report] = fault
    assert "OUTGATE_CREDENTIAL_KEYS is empty" in report
    assert found_in(report.encode(), {"password": CANARY}) == []


def test_no_report_holds_a_password_that_was_being_read(msa, rf, settings):
    SmtpMsa.objects.update(host="smtp.evil.example")
    try:
        gateway_password(SmtpMsa.objects.get())
    except CredentialError:
        report = ExceptionReporter(rf.get("/"), *sys.exc_info()).get_traceback_html()
    secrets = {"password": CANARY, "key": settings.OUTGATE_CREDENTIAL_KEYS[0].partition(":")[2]}
    assert found_in(report.encode(), secrets) == []


def test_sealing_uses_a_fresh_nonce_of_96_bits():
    nonces = {seal(CANARY, BINDING).ciphertext[: credentials.NONCE_BYTES] for _ in range(100)}
    assert len(nonces) == 100
    assert credentials.NONCE_BYTES == 12

"""Stored passwords by server, and wiping those of one."""

import pytest
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from delivery.explain import explain
from delivery.routing import Refusal, Rule, decide
from delivery.services import load_account, load_settings
from sendas.credentials import CredentialError
from sendas.models import OwnerNotice, SmtpMsa
from sendas.services.addresses import gateway_password
from sendas.services.wiping import hosts_with_passwords, wipe_passwords
from sendas.tasks import mail_notice
from tests.sendas.conftest import PARTNER, apply_policy, make_pending, make_send_as
from tests.sendas.pages import row_of
from tests.support import assert_fits_the_policy, read

PAGE = "/console/stored-passwords/"
HOST = "smtp.partnerdomain.com"
CIPHERTEXT = b"what was sealed"


def store(user, *, address: str = PARTNER, host: str = HOST, pending: bool = False) -> SmtpMsa:
    make = make_pending if pending else make_send_as
    return SmtpMsa.objects.create(
        send_as=make(user, address=address), host=host, port=587, security_mode="starttls",
        username="user.name", key_id="test", ciphertext=CIPHERTEXT,
    )  # fmt: skip


@pytest.fixture
def as_super(client, super_admin):
    client.force_login(super_admin)
    return client


@pytest.fixture
def stored(owner, colleague, stranger) -> list[SmtpMsa]:
    """Three of two accounts at the host, and one elsewhere."""
    return [
        store(owner),
        store(owner, address="b@partnerdomain.com", pending=True),
        store(colleague),
        store(stranger, host="mail.consult.example"),
    ]


def test_the_page_counts_the_passwords_of_each_server(as_super, stored):
    html = read(as_super, PAGE)
    assert html.index(HOST) < html.index("mail.consult.example")
    assert hosts_with_passwords("", 9) == [(HOST, 3, 0), ("mail.consult.example", 1, 0)]
    found = read(as_super, f"{PAGE}?q=Consult")
    assert "mail.consult.example" in found
    assert HOST not in found
    assert "like “nowhere”" in read(as_super, f"{PAGE}?q=nowhere")


def test_of_many_servers_those_with_the_most_are_shown(as_super, owner, colleague):
    for number in range(51):
        store(owner, address=f"a@h{number:02}.example", host=f"h{number:02}.example")
    store(colleague, host="h50.example")
    html = read(as_super, PAGE)
    assert html.count("Wipe…") == 50
    assert "These are the 50 servers with the most" in html
    assert "h50.example" in html
    assert "h49.example" not in html


def test_without_any_the_page_says_what_will_stand_there(as_super):
    assert "No password is stored" in read(as_super, PAGE)


def test_the_question_says_whom_it_concerns_and_what_happens(as_super, stored):
    html = read(as_super, f"{PAGE}{HOST}/")
    assert f"Wipe all stored passwords for {HOST}?" in html
    assert "<dt>Accounts</dt><dd>2</dd>" in html
    assert "<dt>Addresses</dt><dd>3</dd>" in html
    assert "Wipe 3 passwords" in html
    assert SmtpMsa.objects.with_password().count() == 4
    assert as_super.get(f"{PAGE}nowhere.example/").status_code == 404


def test_the_button_wipes_them_and_nothing_else(as_super, super_admin, stored):
    before = {msa.pk: msa.credential_id for msa in stored}
    answer = as_super.post(f"{PAGE}{HOST}/", {"reason": "Broken into on Monday"}, follow=True)
    assert answer.redirect_chain == [(PAGE, 302)]
    html = answer.content.decode()
    assert f"3 passwords for {HOST} are wiped. Their owners hear of it by mail." in html
    assert_fits_the_policy(html)
    for msa in SmtpMsa.objects.all():
        assert (msa.host, msa.port, msa.username) != ("", 0, "")
        if msa.host == HOST:
            assert (bytes(msa.ciphertext), msa.key_id) == (b"", "")
            assert msa.credential_id != before[msa.pk]
            with pytest.raises(CredentialError):
                gateway_password(msa)
        else:
            assert bytes(msa.ciphertext) == CIPHERTEXT
            assert msa.credential_id == before[msa.pk]
    event = AuditEvent.objects.get(name="passwords_wiped")
    assert (event.actor_id, event.target) == (super_admin.pk, HOST)
    assert event.details == {
        "accounts": 2, "addresses": 3, "sign_ins": 0, "reason": "Broken into on Monday"
    }  # fmt: skip


def test_a_second_click_wipes_nothing_and_tells_nobody_again(as_super, stored):
    as_super.post(f"{PAGE}{HOST}/")
    answer = as_super.post(f"{PAGE}{HOST}/", follow=True)
    assert f"No password for {HOST} was stored any more" in answer.content.decode()
    assert AuditEvent.objects.filter(name="passwords_wiped").count() == 1
    assert OwnerNotice.objects.count() == 2


def test_a_reason_that_is_too_long_is_told_and_kept(as_super, stored):
    html = as_super.post(f"{PAGE}{HOST}/", {"reason": "x" * 501}).content.decode()
    assert "x" * 501 in html
    assert "at most 500" in html
    assert SmtpMsa.objects.with_password().count() == 4


def test_each_owner_gets_one_mail_with_the_addresses(owner, colleague, stored):
    wipe_passwords(actor=SYSTEM, host=HOST)
    for pk in list(OwnerNotice.objects.values_list("pk", flat=True)) * 2:
        mail_notice(pk)
    assert not OwnerNotice.objects.exists()
    sent = {message.to[0]: message for message in mail.outbox}
    assert set(sent) == {owner.primary_address, colleague.primary_address}
    assert len(mail.outbox) == 2
    message = sent[owner.primary_address]
    for body in (message.body, message.alternatives[0].content):
        for words in (HOST, PARTNER, "b@partnerdomain.com", "type the password again"):
            assert words in body


def test_who_typed_it_again_meanwhile_gets_no_mail(owner, stored):
    wipe_passwords(actor=SYSTEM, host=HOST)
    SmtpMsa.objects.update(wiped_at=None)
    for pk in OwnerNotice.objects.values_list("pk", flat=True):
        mail_notice(pk)
    assert mail.outbox == []


@pytest.mark.parametrize("role", ["owner", "support", "unit_admin", "users_admin"])
def test_nobody_else_wipes_them(request, stored, role):
    with pytest.raises(PermissionDenied):
        wipe_passwords(actor=Actor(request.getfixturevalue(role)), host=HOST)
    assert SmtpMsa.objects.with_password().count() == 4


def test_mail_is_refused_with_how_to_mend_it_and_the_list_says_so(client, owner):
    store(owner)
    apply_policy(owner, value={"allowed": True})
    wipe_passwords(actor=SYSTEM, host=HOST)
    answer = decide(load_account(owner), PARTNER, load_settings(owner))
    assert isinstance(answer, Refusal)
    assert answer.explanation.rule == Rule.GATEWAY_WIPED
    assert "had the password" in explain(answer.explanation)
    client.force_login(owner)
    row = row_of(read(client, "/settings/"), PARTNER)
    assert f"{HOST} · stopped" in row
    assert "had the passwords" in row
    assert "Enter the password" in row


def test_ten_or_twenty_cost_the_same_queries(as_super, organisation, owner, colleague):
    def queries(work) -> int:
        with CaptureQueriesContext(connection) as captured:
            work()
        return len(captured)

    counts = []
    for number in (10, 20):
        for n in range(number):
            store(owner, address=f"a{n}@h{number}.example", host=f"h{n}.{number}.example")
            store(colleague, address=f"a{n}@h{number}.example")
        counts.append((
            queries(lambda: as_super.get(PAGE)),
            queries(lambda: as_super.get(f"{PAGE}{HOST}/")),
            queries(lambda: wipe_passwords(actor=SYSTEM, host=HOST)),
        ))  # fmt: skip
    assert counts[0] == counts[1]

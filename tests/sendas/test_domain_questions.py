"""Domains are asked for their records, and the answers kept, by the tasks and by the wizard."""

import contextlib
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from accounts.services.audit import SYSTEM
from config.celery import app
from sendas.models import MailDomain, SmtpMsa
from sendas.services.addresses import Details, add_address, set_gateway
from sendas.services.domain_questions import ask_due_domain, ask_for_page
from sendas.services.mail_domains import due_domains, known_domains, note_domain, note_own_domains
from sendas.tasks import SWEEP_LIMIT, ask_mail_domain, sweep_mail_domains
from tests.sendas.conftest import PARTNER, gateway_at, make_send_as

DOMAIN, HOST = "partnerdomain.com", "smtp.partnerdomain.com"
SERVER = "93.184.216.34"


@pytest.fixture
def published(dns):
    """The partner's records: reject what is not its own, and its server is named."""
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=reject; aspf=s")
    dns.say(DOMAIN, "TXT", f"v=spf1 ip4:{SERVER} -all")
    dns.say(HOST, "A", SERVER)
    return dns


def with_server(user, *, host: str = HOST, address: str = PARTNER) -> SmtpMsa:
    return SmtpMsa.objects.create(
        send_as=make_send_as(user, address=address), host=host, port=587,
        security_mode="starttls", username="x", key_id="x", ciphertext=b"",
    )  # fmt: skip


def ask(name: str = DOMAIN) -> MailDomain:
    """As the task does it when it is the domain's turn."""
    note_domain(name)
    MailDomain.objects.filter(name=name).update(due_at=Now())
    ask_due_domain(MailDomain.objects.get(name=name).pk)
    return MailDomain.objects.get(name=name)


def hours_until_due(domain: MailDomain) -> int:
    return round((domain.due_at - timezone.now()).total_seconds() / 3600)


def test_the_part_behind_the_last_at_sign_is_the_domain(owner):
    assert make_send_as(owner, address='"a@b"@partnerdomain.com').domain == DOMAIN


def test_what_a_domain_says_is_kept_for_a_week(published, owner):
    with_server(owner)
    domain = ask()
    assert (domain.policy, domain.organisational_domain) == ("reject", DOMAIN)
    assert (domain.strict_spf, domain.strict_dkim) == (True, False)
    assert domain.spf == {HOST: "pass"}
    assert hours_until_due(domain) == 7 * 24
    published.asked.clear()
    ask_due_domain(domain.pk)
    assert published.asked == []


def test_a_domain_whose_turn_is_taken_is_not_asked_by_a_second_task(published, owner):
    make_send_as(owner)
    domain = MailDomain.objects.create(name=DOMAIN)
    MailDomain.objects.update(due_at=Now() + timedelta(hours=6))
    ask_mail_domain(domain.pk)
    assert published.asked == []


def test_the_task_may_run_twice(published, owner):
    domain = MailDomain.objects.create(name=DOMAIN)
    make_send_as(owner)
    ask_mail_domain(domain.pk)
    before = MailDomain.objects.filter(pk=domain.pk).values().get()
    ask_mail_domain(domain.pk)
    assert MailDomain.objects.filter(pk=domain.pk).values().get() == before


def test_without_an_answer_what_was_said_before_stays(published, owner):
    with_server(owner)
    before = ask()
    published.broken = True
    after = ask()
    assert hours_until_due(after) == 6
    for name in ("policy", "organisational_domain", "strict_spf", "spf", "answered_at"):
        assert getattr(after, name) == getattr(before, name)


def test_a_domain_that_never_answered(dns, owner):
    make_send_as(owner)
    dns.broken = True
    domain = ask()
    assert (domain.policy, domain.answered_at, domain.spf) == ("", None, {})
    assert known_domains([DOMAIN]) == {}


def test_an_old_answer_is_not_taken_for_true(published, owner):
    make_send_as(owner)
    ask()
    assert DOMAIN in known_domains([DOMAIN])
    MailDomain.objects.update(answered_at=Now() - timedelta(days=31))
    assert known_domains([DOMAIN]) == {}


def test_an_spf_record_that_can_not_be_judged_today(published, owner):
    with_server(owner)
    published.say(DOMAIN, "TXT", "v=spf1 include:broken.example -all")
    published.broken_names = {"broken.example."}
    domain = ask()
    assert (domain.policy, domain.spf, hours_until_due(domain)) == ("reject", {}, 6)


def test_servers_that_nobody_uses_any_more_are_forgotten(published, owner):
    msa = with_server(owner)
    assert ask().spf == {HOST: "pass"}
    msa.delete()
    assert ask().spf == {}


def test_a_domain_that_nobody_needs_is_dropped(published, owner):
    address = make_send_as(owner)
    ask()
    address.delete()
    MailDomain.objects.update(due_at=Now())
    published.asked.clear()
    ask_due_domain(MailDomain.objects.get().pk)
    assert published.asked == []
    assert not MailDomain.objects.exists()


def test_own_domains_are_asked_about_our_outgoing_addresses(dns, organisation, settings):
    settings.OUTGATE_SENDING_ADDRESSES = ("93.184.216.1", "93.184.216.2")
    dns.say("yourdomain.com", "TXT", "v=spf1 ip4:93.184.216.0/24 -all")
    note_own_domains()
    note_own_domains()
    assert ask("yourdomain.com").spf == {"": "pass"}
    dns.say("yourdomain.com", "TXT", "v=spf1 ip4:93.184.216.1 -all")
    assert ask("yourdomain.com").spf == {"": "fail"}
    settings.OUTGATE_SENDING_ADDRESSES = ()
    assert ask("yourdomain.com").spf == {}


def test_who_waits_longest_is_asked_first(db):
    for hours, name in ((1, "b.example"), (2, "a.example"), (-1, "c.example")):
        MailDomain.objects.create(name=name, due_at=Now() - timedelta(hours=hours))
    assert [domain.name for domain in due_domains()] == ["a.example", "b.example"]


def enqueued() -> list[list[int]]:
    """The arguments of what the sweep put into the broker."""
    app.control.purge()
    sweep_mail_domains()
    messages = []
    with (
        app.connection_for_read() as connection,
        connection.SimpleQueue("celery") as queue,
        contextlib.suppress(queue.Empty),
    ):
        while True:
            messages.append(queue.get_nowait())
    return [message.payload[0] for message in messages]


def test_the_sweep_enqueues_a_few_at_a_time(dns, organisation):
    MailDomain.objects.bulk_create(MailDomain(name=f"d{n}.example") for n in range(30))
    oldest = MailDomain.objects.get(name="d7.example")
    MailDomain.objects.filter(pk=oldest.pk).update(due_at=Now() - timedelta(days=1))
    queued = enqueued()
    assert len(queued) == SWEEP_LIMIT
    assert queued[0] == [oldest.pk]
    assert MailDomain.objects.filter(name="yourdomain.com").exists()


def test_switched_off_the_sweep_enqueues_nothing(db, settings):
    settings.OUTGATE_FIND_SETTINGS = False
    MailDomain.objects.create(name=DOMAIN)
    assert enqueued() == []


def test_a_new_address_has_its_domain_asked(owner):
    address = add_address(
        actor=SYSTEM, user=owner, address=PARTNER, details=Details("User"), gateway=None
    )
    assert [domain.name for domain in due_domains()] == [address.domain]


def test_a_new_server_has_its_domain_asked_again(owner, allowed, partner):
    address = make_send_as(owner)
    MailDomain.objects.create(name=DOMAIN, due_at=Now() + timedelta(days=5))
    set_gateway(actor=SYSTEM, send_as=address, gateway=gateway_at(partner.port))
    assert [domain.name for domain in due_domains()] == [DOMAIN]
    MailDomain.objects.update(spf={"localhost": "no address"}, due_at=Now() + timedelta(days=5))
    set_gateway(actor=SYSTEM, send_as=address, gateway=gateway_at(partner.port))
    assert not due_domains()


def test_the_page_asks_for_what_is_not_known_and_for_nothing_else(published, db):
    ask_for_page(DOMAIN, "")
    domain = MailDomain.objects.get()
    assert (domain.policy, domain.spf, hours_until_due(domain)) == ("reject", {}, 7 * 24)
    ask_for_page(DOMAIN, HOST)
    assert MailDomain.objects.get().spf == {HOST: "pass"}
    published.asked.clear()
    ask_for_page(DOMAIN, HOST)
    assert published.asked == []
    ask_for_page(DOMAIN, "other.partnerdomain.com")
    assert MailDomain.objects.get().spf == {HOST: "pass", "other.partnerdomain.com": "no address"}


def test_nobody_is_asked_where_that_is_switched_off(published, settings, db):
    settings.OUTGATE_FIND_SETTINGS = False
    ask_for_page(DOMAIN, HOST)
    assert published.asked == []
    assert not MailDomain.objects.exists()


def test_what_can_be_no_domain_is_not_asked_about(published, db):
    ask_for_page("[127.0.0.1]", "")
    assert published.asked == []

"""A real worker asks the domains whose turn it is."""

import time

import pytest
from django.utils import timezone

from sendas.models import MailDomain, SmtpMsa
from sendas.tasks import SWEEP_LIMIT, sweep_mail_domains
from tests.processes import WORKER, running, until
from tests.sendas.conftest import make_send_as

DOMAINS = 200

pytestmark = [pytest.mark.soak, pytest.mark.django_db(transaction=True)]


def publish(dns, owner, number: int) -> None:
    name, address = f"d{number}.example", f"93.184.{number // 250}.{number % 250}"
    dns.say(f"_dmarc.{name}", "TXT", "v=DMARC1; p=reject")
    dns.say(name, "TXT", f"v=spf1 include:_spf.{name} -all")
    dns.say(f"_spf.{name}", "TXT", f"v=spf1 a:smtp.{name} -all")
    dns.say(f"smtp.{name}", "A", address)
    SmtpMsa.objects.create(
        send_as=make_send_as(owner, address=f"user@{name}"), host=f"smtp.{name}", port=587,
        security_mode="starttls", username="x", key_id="x", ciphertext=b"",
    )  # fmt: skip
    MailDomain.objects.create(name=name)


def test_a_worker_asks_all_domains_a_few_at_each_sweep(dns, owner):
    for number in range(DOMAINS):
        publish(dns, owner, number)
    MailDomain.objects.get_or_create(name="yourdomain.com")
    servers = {
        "OUTGATE_FIND_SETTINGS": "true",
        "OUTGATE_DNS_SERVERS": f"127.0.0.1#{dns.port}",
    }
    with running("worker", WORKER, servers) as worker:
        worker.wait_for(r"\bready\.")
        begun, sweeps = time.monotonic(), 0
        while due := MailDomain.objects.filter(due_at__lte=timezone.now()).count():
            sweep_mail_domains.delay()
            sweeps += 1
            target = max(0, due - SWEEP_LIMIT)
            until(
                lambda target=target: (
                    MailDomain.objects.filter(due_at__lte=timezone.now()).count() <= target
                ),
                30,
                lambda: worker.output,
            )
        took = time.monotonic() - begun
    judged = MailDomain.objects.exclude(name="yourdomain.com")
    wrong = [d.name for d in judged if (d.policy, d.spf) != ("reject", {f"smtp.{d.name}": "pass"})]
    print(f"{DOMAINS} domains in {sweeps} sweeps, {took:.1f} s, {len(dns.asked)} questions")
    assert wrong == []
    assert sweeps >= DOMAINS // SWEEP_LIMIT

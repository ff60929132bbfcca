"""Asking a domain for what its records say of its mail, and keeping the answer.

A domain is asked once a week, and sooner again where it gave no answer. What it said before stays
meanwhile. Nothing waits for an answer but the page that asks for a new address, for a short time.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from sendas.dmarc import look_up_dmarc
from sendas.models import MailDomain
from sendas.services.connection import run_within
from sendas.services.discovery import all_in_time
from sendas.services.mail_domains import is_in_use, is_own, note_domain, servers_of
from sendas.spf import SpfResult, check_addresses, check_server
from smtp.egress import is_host_name

PAGE_SECONDS = 2.5
TASK_SECONDS = 15.0
WEEK = timedelta(days=7)
SOON = timedelta(hours=6)


def ask_due_domain(pk: int) -> None:
    """Ask once more, if it is the domain's turn; drop it where nobody needs it any more."""
    due = MailDomain.objects.filter(pk=pk, due_at__lte=Now())
    # Its turn is taken first: two tasks don't ask at once, and a failing one not each minute.
    if not due.update(due_at=Now() + SOON):
        return
    domain = MailDomain.objects.get(pk=pk)
    if is_in_use(domain.name):
        _ask(domain, servers_of(domain.name), TASK_SECONDS)
    else:
        domain.delete()


def ask_for_page(name: str, host: str) -> None:
    """Ask a domain that is new here, or for a server that is; the page that wants it waits."""
    if not settings.OUTGATE_FIND_SETTINGS or not is_host_name(name):
        return
    note_domain(name)
    domain = MailDomain.objects.get(name=name)
    if domain.answered_at is None or (host and host not in domain.spf):
        _ask(domain, [host] if host else [], PAGE_SECONDS, keep=True)


def _ask(domain: MailDomain, hosts: Iterable[str], seconds: float, *, keep: bool = False) -> None:
    """`keep` what was said of other servers: they are asked for by their turn."""
    questions: dict[str, Any] = {
        host: check_server(domain.name, host, seconds=seconds) for host in hosts
    }
    if settings.OUTGATE_SENDING_ADDRESSES and is_own(domain.name):
        ours = [str(address) for address in settings.OUTGATE_SENDING_ADDRESSES]
        questions[""] = check_addresses(domain.name, ours, seconds=seconds)
    dmarc, *results = run_within(
        2 * seconds, all_in_time(look_up_dmarc(domain.name), *questions.values(), seconds=seconds)
    )
    said = {
        host: result
        for host, result in zip(questions, results, strict=True)
        if result not in {None, SpfResult.TEMPERROR}
    }
    before = (
        domain.spf if keep else {host: domain.spf[host] for host in questions.keys() & domain.spf}
    )
    complete = dmarc is not None and len(said) == len(questions)
    answer: dict[str, Any] = {**dmarc._asdict(), "answered_at": Now()} if dmarc else {}
    MailDomain.objects.filter(pk=domain.pk).update(
        spf={**before, **said}, due_at=Now() + (WEEK if complete else SOON), **answer
    )

"""The domains whose records are known, or still have to be asked for.

Apart from who asks (domain_questions.py): pages and mail need only what is known.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import Domain
from sendas.models import MailDomain, SendAs, SmtpMsa

# What a domain said is not taken for true any longer once it has been silent for so long.
KEPT = timedelta(days=30)
SERVERS = 10  # in use for one domain; people of one domain share theirs


def note_domain(name: str, *, host: str = "") -> None:
    """Have the domain's records asked for soon, unless they and those for `host` are known."""
    domain, _created = MailDomain.objects.get_or_create(name=name)
    if host and host not in domain.spf:
        MailDomain.objects.filter(pk=domain.pk).update(due_at=Now())


def note_own_domains() -> None:
    """Have those of the organisation's domains asked for that never were."""
    for name in Domain.objects.exclude(name__in=MailDomain.objects.values("name")).values_list(
        "name", flat=True
    ):
        note_domain(name)


def due_domains() -> QuerySet[MailDomain]:
    """Whose turn it is, the longest waiting first."""
    return MailDomain.objects.filter(due_at__lte=Now()).order_by("due_at")


def known_domains(names: Iterable[str]) -> dict[str, MailDomain]:
    """Those of the names that have answered, in one query."""
    rows = MailDomain.objects.filter(name__in=set(names), answered_at__gt=Now() - KEPT)
    return {row.name: row for row in rows}


def is_own(name: str) -> bool:
    return Domain.objects.filter(name=name).exists()


def is_in_use(name: str) -> bool:
    """Whether it is an own domain, or somebody's address lies in it."""
    return is_own(name) or SendAs.objects.filter(domain=name).exists()


def servers_of(name: str) -> list[str]:
    """The own servers of addresses in the domain."""
    hosts = SmtpMsa.objects.filter(send_as__domain=name).values_list("host", flat=True)
    return list(hosts.distinct().order_by("host")[:SERVERS])

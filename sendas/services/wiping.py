"""All stored passwords of one host deleted at once: what an administrator does after a break-in."""

from typing import NamedTuple

from django.contrib.postgres.functions import RandomUUID, TransactionNow
from django.db import connection, transaction
from django.db.models import Count, QuerySet

from accounts.services.audit import Actor, record_event
from accounts.services.rights import demand_super_admin
from sendas.models import OwnerNotice, SmtpMsa


class Concerned(NamedTuple):
    """Whose passwords for a host are stored."""

    host: str
    accounts: int
    addresses: int


class Stored(NamedTuple):
    """How many passwords for a host are stored: one for each address."""

    host: str
    addresses: int


def hosts_with_passwords(search: str) -> "QuerySet[SmtpMsa, tuple[str, int]]":
    """Rows as `Stored`, the most first; counted from an index alone."""
    stored = SmtpMsa.objects.with_password().filter(host__contains=search.lower())
    counted = stored.values("host").annotate(addresses=Count("host"))
    return counted.order_by("-addresses", "host").values_list("host", "addresses")


def stored_for(host: str) -> Concerned:
    return _concerned(host, SmtpMsa.objects.with_password().filter(host=host))


def _concerned(host: str, rows: QuerySet[SmtpMsa]) -> Concerned:
    counts = rows.aggregate(accounts=Count("send_as__user", distinct=True), addresses=Count("pk"))
    return Concerned(host, **counts)


def wipe_passwords(*, actor: Actor, host: str, reason: str = "") -> Concerned:
    """Delete them, and leave word for each account; who was concerned. For super administrators.

    Servers and user names stay, so that mail is refused, with how to mend it, and does not go by
    another server. A new `credential_id` ends the use of connections that were signed in before.
    """
    with transaction.atomic():
        demand_super_admin(actor)
        count = (
            SmtpMsa.objects.with_password()
            .filter(host=host)
            .update(
                ciphertext=b"",
                key_id="",
                credential_id=RandomUUID(),
                refused_at=None,
                refusal="",
                wiped_at=TransactionNow(),
            )
        )
        if not count:
            return Concerned(host, 0, 0)
        wiped = SmtpMsa.objects.filter(host=host, wiped_at=TransactionNow())
        concerned = _concerned(host, wiped)
        _tell_owners(host)
        record_event(
            actor,
            "passwords_wiped",
            host,
            accounts=concerned.accounts,
            addresses=concerned.addresses,
            reason=reason,
        )
    return concerned


def _tell_owners(host: str) -> None:
    """A notice for each account, however many they are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sendas_ownernotice (user_id, host, kind)"
            " SELECT DISTINCT address.user_id, msa.host, %s FROM sendas_smtpmsa msa"
            " JOIN sendas_sendas address ON address.id = msa.send_as_id"
            " WHERE msa.host = %s AND msa.wiped_at = now()",
            [OwnerNotice.Kind.PASSWORDS_WIPED, host],
        )

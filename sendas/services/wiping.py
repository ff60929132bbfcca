"""All stored passwords of one host deleted at once: what an administrator does after a break-in.

Those of people's addresses, and where that is asked for, the sign-ins of units' outbound gateways:
without these, all that such a unit writes stops, so they go only with a word of their own.
"""

from typing import NamedTuple

from django.contrib.postgres.functions import RandomUUID, TransactionNow
from django.db import connection, transaction
from django.db.models import Count, QuerySet

from accounts.models import OrgUnit
from accounts.services.audit import Actor, record_event
from accounts.services.rights import demand_super_admin
from policies.models import GatewayPolicy, Setting
from sendas.models import OwnerNotice, SmartHostCredential, SmtpMsa


class Concerned(NamedTuple):
    """Whose passwords for a host are stored."""

    host: str
    accounts: int
    addresses: int
    sign_ins: int


class Stored(NamedTuple):
    """How many passwords for a host are stored: one for each address, and units' sign-ins."""

    host: str
    addresses: int
    sign_ins: int


def hosts_with_passwords(search: str, limit: int) -> list[Stored]:
    """So many, those with the most first; people's are counted from an index alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH addresses AS (
                SELECT host, count(*) AS number FROM sendas_smtpmsa
                 WHERE wiped_at IS NULL AND strpos(host, %(search)s) > 0 GROUP BY host),
            sign_ins AS (
                SELECT host, count(*) AS number FROM sendas_smarthostcredential
                 WHERE wiped_at IS NULL AND strpos(host, %(search)s) > 0 GROUP BY host)
            SELECT host, COALESCE(addresses.number, 0), COALESCE(sign_ins.number, 0)
              FROM addresses FULL JOIN sign_ins USING (host)
             ORDER BY 2 DESC, 3 DESC, host LIMIT %(limit)s
            """,
            {"search": search.lower(), "limit": limit},
        )
        return [Stored(*row) for row in cursor.fetchall()]


def stored_for(host: str) -> Concerned:
    people = SmtpMsa.objects.with_password().filter(host=host)
    return _concerned(host, people, _sign_ins(host).count())


def units_signing_in_at(host: str) -> list[OrgUnit]:
    """Whose outbound gateway, as it is saved, has a stored sign-in there. The other sign-ins belong
    to former values, which an undo could bring back."""
    ids = [str(pk) for pk in _sign_ins(host).values_list("pk", flat=True)]
    saved = GatewayPolicy.objects.filter(
        setting=Setting.OUTBOUND_GATEWAY, value__server__credential_id__in=ids
    )
    return [policy.unit for policy in saved.select_related("unit").order_by("unit__path")]


def _sign_ins(host: str) -> QuerySet[SmartHostCredential]:
    return SmartHostCredential.objects.with_password().filter(host=host)


def _concerned(host: str, rows: QuerySet[SmtpMsa], sign_ins: int) -> Concerned:
    counts = rows.aggregate(accounts=Count("send_as__user", distinct=True), addresses=Count("pk"))
    return Concerned(host, **counts, sign_ins=sign_ins)


def wipe_passwords(
    *, actor: Actor, host: str, reason: str = "", with_sign_ins: bool = False
) -> Concerned:
    """Delete them, and leave word for each account; who was concerned. For super administrators.

    `with_sign_ins`: those of units' outbound gateways, too. New connections can't sign in then; one
    that is open carries on until it was idle for half a minute.

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
        sign_ins = _wipe_sign_ins(actor, host, reason) if with_sign_ins else 0
        if not count and not sign_ins:
            return Concerned(host, 0, 0, 0)
        wiped = SmtpMsa.objects.filter(host=host, wiped_at=TransactionNow())
        concerned = _concerned(host, wiped, sign_ins)
        _tell_owners(host)
        record_event(
            actor,
            "passwords_wiped",
            host,
            accounts=concerned.accounts,
            addresses=concerned.addresses,
            sign_ins=sign_ins,
            reason=reason,
        )
    return concerned


def _wipe_sign_ins(actor: Actor, host: str, reason: str) -> int:
    """How many; each unit that has one in use reads of it in its own reports."""
    units = units_signing_in_at(host)
    wiped = _sign_ins(host).update(ciphertext=b"", key_id="", wiped_at=TransactionNow())
    for unit in units:
        record_event(actor, "sign_in_wiped", host, unit=unit, reason=reason)
    return wiped


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

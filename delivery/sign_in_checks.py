"""Whether stored passwords still work: each is tried once a night, unless mail has shown it.

Polite to servers, for they see many of our accounts from one address: a few at a time, a pause
between, and nothing more from one that does not answer. Only a refusal for good says something.
"""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

import uvloop
from django.db import connection, transaction
from django.db.models import DurationField, ExpressionWrapper, Value
from django.db.models.functions import Now, Random
from django.utils import timezone

from delivery.database import Database
from delivery.routing import Route, RouteKind, decide
from delivery.services import load_account, load_settings
from delivery.sign_in import GatewaySignIns
from policies.services import database_now
from sendas.credentials import CredentialError
from sendas.models import SmtpMsa, trouble_of
from sendas.services.connection import TEST_SECONDS, TIMEOUTS
from smtp.client import Connection
from smtp.failure import FailureKind, SmtpFailure

AT_ONE_HOST = 3  # in one sweep; the time between two is the pause
AT_ONCE = 20
CONSIDERED = 500  # of those that are due, to find some that may be tried now
NOTHING_TO_LEARN = timedelta(hours=24)  # so long after a sign-in
SILENT = timedelta(hours=1)  # a server that does not answer is left alone for so long
NIGHT_BEGINS = 1  # o'clock, in OUTGATE_TIME_ZONE
NIGHT = timedelta(hours=4)
GOODBYE_SECONDS = 0.05  # for TLS to end its part
SWEEP_LOCK = 7_216_006  # any number of our own


def check_sign_ins(database: Database) -> int:
    """Try some of those whose turn it is; how many. Each refused one is told to its owner."""
    rows = _take()
    routes = {row: route for row in rows if (route := _route_of(row))}
    if not routes:
        return 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(_try_all(routes, database))
    for row, outcome in zip(routes, outcomes, strict=True):
        _note(row, outcome)
    return len(routes)


def next_night(now: datetime) -> datetime:
    """When the next one begins."""
    here = timezone.localtime(now)
    begins = here.replace(hour=NIGHT_BEGINS, minute=0, second=0, microsecond=0)
    return begins if here < begins else begins + timedelta(days=1)


def _take() -> list[SmtpMsa]:
    """Rows that nobody else checks: their next turn is tomorrow, whatever becomes of us."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
        if not cursor.fetchone()[0]:
            return []
        _put_off_used()
        due = SmtpMsa.objects.to_check()
        busy = SmtpMsa.objects.filter(claimed_until__gt=Now()).values("host")
        considered = due.exclude(host__in=busy).order_by("check_due_at")[:CONSIDERED]
        hosts: Counter[str] = Counter()
        chosen: list[int] = []
        for pk, host in considered.values_list("pk", "host"):
            hosts[host] += 1
            if hosts[host] <= AT_ONE_HOST and len(chosen) < AT_ONCE:
                chosen.append(pk)
        _put_off(chosen)
        rows = SmtpMsa.objects.filter(pk__in=chosen).select_related("send_as__user__unit")
        return list(rows)


def _put_off_used() -> None:
    used = SmtpMsa.objects.to_check().filter(signed_in_at__gt=Now() - NOTHING_TO_LEARN)
    _put_off(list(used.values_list("pk", flat=True)[:CONSIDERED]))


def _put_off(keys: list[int]) -> None:
    """To any time of the next night, so that no two nights begin with a rush."""
    later = ExpressionWrapper(Random() * Value(NIGHT), output_field=DurationField())
    SmtpMsa.objects.filter(pk__in=keys).update(
        check_due_at=Value(next_night(database_now())) + later
    )


def _route_of(row: SmtpMsa) -> Route | None:
    """Only what mail would go by at this moment: no policy, proof or suspension stands against."""
    send_as = row.send_as
    answer = decide(load_account(send_as.user), send_as.send_as_email, load_settings(send_as.user))
    if isinstance(answer, Route) and answer.kind == RouteKind.GATEWAY:
        return answer if answer.credential_id == row.credential_id else None
    return None


Outcome = FailureKind | None


async def _try_all(routes: dict[SmtpMsa, Route], database: Database) -> list[Outcome]:
    sign_ins = GatewaySignIns(database, timeouts=TIMEOUTS)
    outcomes = await asyncio.gather(
        *(_try(sign_ins, route, row.credential_id) for row, route in routes.items())
    )
    await asyncio.sleep(GOODBYE_SECONDS)
    return outcomes


async def _try(sign_ins: GatewaySignIns, route: Route, credential_id: UUID) -> Outcome:
    """None where the server took the password, or there is another one by now."""
    opened: Connection | None = None
    try:
        async with asyncio.timeout(TEST_SECONDS):
            opened = await sign_ins.open(route, credential_id)
            await opened.quit()
    except SmtpFailure as failure:
        return failure.kind
    except TimeoutError:
        return FailureKind.TIMEOUT
    except (SmtpMsa.DoesNotExist, CredentialError):
        return None
    finally:
        if opened is not None:
            opened.abort()
    return None


def _note(row: SmtpMsa, outcome: Outcome) -> None:
    same = SmtpMsa.objects.filter(pk=row.pk, credential_id=row.credential_id)
    goes_on = row.check_failure and outcome and trouble_of(row.check_failure) == trouble_of(outcome)
    begun = (row.failing_since or Now()) if goes_on else Now()
    same.update(
        checked_at=Now(), check_failure=outcome or "", failing_since=begun if outcome else None
    )
    if outcome in {FailureKind.TIMEOUT, FailureKind.NOT_A_MAIL_SERVER}:
        soon = Now() + SILENT
        others = SmtpMsa.objects.filter(host=row.host, wiped_at=None, check_due_at__lt=soon)
        others.update(check_due_at=soon)

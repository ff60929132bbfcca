"""Measures pages and rollouts, as a process with Outgate's settings.

Input: {"events", "addresses", "rounds", ...}. Output: one line, {"pages": [...], ...}.
Pages are answered by the whole application in this process: all but the socket.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import django

django.setup()  # before the imports below: they need models (hence E402)

from allauth.account.internal.flows.login import record_authentication  # noqa: E402
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import F  # noqa: E402
from django.db.models.functions import Now  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.urls import reverse  # noqa: E402

from accounts.models import OrgUnit, User  # noqa: E402
from accounts.owner import owner_role  # noqa: E402
from accounts.second_factor import second_factor_of  # noqa: E402
from accounts.services.audit import SYSTEM, Actor  # noqa: E402
from accounts.services.people import create_user  # noqa: E402
from accounts.services.roles import assign_role  # noqa: E402
from bench.own_pages import give_rows, own_pages  # noqa: E402
from policies.models import AppliedPolicy, PolicyChange, RolloutWave, Setting  # noqa: E402
from policies.services import apply_waves, change_policies  # noqa: E402
from policies.tasks import SWEEP_LIMIT  # noqa: E402
from sendas.models import SendAs, SmtpMsa  # noqa: E402

DOMAIN = "filled.example"
MANY, FEW = 25, 3  # rows on a person's own pages; a page of the outbox has 25
# As an organisation's are: spread over units and people, most of them about few kinds.
EVENTS = """
INSERT INTO accounts_auditevent
       (at, actor_address, name, target, unit_id, unit_path, details)
SELECT now() - make_interval(secs => %(events)s - number),
       'person' || lpad((number %% 5000)::text, 7, '0') || '@filled.example',
       (ARRAY['send_as_added', 'send_as_verified', 'gateway_set', 'app_password_created',
              'account_moved', 'account_suspended'])[1 + number %% 6],
       'person' || lpad((number %% 900000)::text, 7, '0') || '@filled.example',
       units.ids[1 + number %% cardinality(units.ids)], 'filled.example › Unit',
       jsonb_build_object('old', 'before', 'new', 'after')
  FROM generate_series(1, %(events)s) AS number,
       (SELECT array_agg(id) AS ids FROM accounts_orgunit) AS units
"""


class Cost:
    """What a piece of work has asked of the database."""

    seconds = 0.0
    statements = 0

    def __call__(self, execute: Callable[..., Any], *asked: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*asked)
        finally:
            self.seconds += time.perf_counter() - started
            self.statements += 1


@contextmanager
def counted() -> Any:
    cost = Cost()
    with connection.execute_wrapper(cost):
        yield cost


def add_addresses(count: int) -> None:
    """Outside addresses, half of them with a server of their own; of those one in fifty broken.

    Nobody ever signs in to these servers.
    """
    users = User.objects.filter(primary_address__startswith="person").order_by("pk")[:count]
    added = SendAs.objects.bulk_create(
        (
            SendAs(
                user_id=pk,
                send_as_email=address.replace(DOMAIN, "partner.example"),
                verification_status=SendAs.VerificationStatus.ACCEPTED,
            )
            for pk, address in users.values_list("pk", "primary_address").iterator()
        ),
        batch_size=5000,
    )
    SmtpMsa.objects.bulk_create(
        (
            SmtpMsa(
                send_as=send_as, host="smtp.partner.example", port=587, security_mode="starttls",
                username="person", key_id="none", ciphertext=b"none",
                refused_at=None if number % 50 else Now(),
            )
            for number, send_as in enumerate(added[::2])
        ),
        batch_size=5000,
    )  # fmt: skip


def make_administrators(root: OrgUnit, unit: OrgUnit) -> tuple[User, User]:
    people = [
        create_user(actor=SYSTEM, primary_address=f"{name}@{DOMAIN}", name=name, unit=root)
        for name in ("super", "reports")
    ]
    assign_role(actor=SYSTEM, user=people[0], role="super_admin")
    assign_role(actor=SYSTEM, user=people[1], role="unit_admin", unit=unit, privileges=["reports"])
    return people[0], people[1]


def measure(
    client: Client, name: str, url: str, rounds: int, posted: dict[str, str] | None = None
) -> dict[str, Any]:
    """A page; `posted` what a form on it sends."""

    def ask() -> float:
        started = time.perf_counter()
        answer = client.post(url, posted) if posted else client.get(url)
        seconds = time.perf_counter() - started
        if answer.status_code != 200:
            raise SystemExit(f"{url} answered {answer.status_code}")
        return seconds * 1000

    ask()
    times = [ask() for _ in range(rounds)]
    with CaptureQueriesContext(connection) as queries:
        ask()
    return {
        "name": name,
        "median": statistics.median(times),
        "p95": statistics.quantiles(times, n=20)[-1],
        "queries": len(queries),
    }


def signed_in(user: User) -> Client:
    """With a second factor that was used: who has a role is asked for it on each page."""
    client = Client(headers={"host": settings.ALLOWED_HOSTS[0]})
    client.force_login(user)
    factor = second_factor_of(user) or TOTP.activate(user, generate_totp_secret()).instance
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, "mfa", id=factor.pk, type=factor.type)
    request.session.save()
    return client


def measure_own(rounds: int) -> Iterator[dict[str, Any]]:
    """Of an account with many rows; `least` is the number of queries of one with few."""
    accounts = [User.objects.get(primary_address=f"person000004{n}@{DOMAIN}") for n in (3, 4)]
    for user, count in zip(accounts, (MANY, FEW), strict=True):
        give_rows(user, count)
    clients = [signed_in(user) for user in accounts]
    both = map(own_pages, clients, accounts)
    for (name, url), (_name, smaller) in zip(*both, strict=True):
        least = measure(clients[1], name, smaller, rounds=2)["queries"]
        yield measure(clients[0], name, url, rounds) | {"least": least}


def preview(client: Client, root: OrgUnit, rounds: int) -> list[dict[str, Any]]:
    """What values at the root would change, while nothing is set: they reach every account."""
    card = reverse("console:mail_advanced", args=[root.pk])
    lists = reverse("console:mail_impact", args=[root.pk]) + "?value=on&list="
    typed = {"allowed": "on", "based_on": "0", "see": "changes"}
    failure = reverse("console:failure", args=[root.pk])
    held = {"on_failure": "hold", "based_on": "0", "see": "changes"}
    outbound = reverse("console:outbound", args=[root.pk])
    relayed = {
        "use": "own", "host": "relay.example", "port": "587", "security_mode": "starttls",
        "based_on": "0", "see": "changes",
    }  # fmt: skip
    return [
        measure(client, "impact preview at the root", card, rounds, typed),
        measure(client, "impact, list of accounts", lists + "accounts", rounds),
        measure(client, "impact, list of addresses", lists + "stopped", rounds),
        measure(client, "impact of a choice on failure", failure, rounds, held),
        measure(client, "impact of an outbound gateway", outbound, rounds, relayed),
    ]


def rows() -> int:
    return sum(
        model._default_manager.count() for model in (AppliedPolicy, PolicyChange, RolloutWave)
    )


def roll_out(name: str, goal: str, user: User, units: list[OrgUnit]) -> list[dict[str, Any]]:
    """Save a value for the units in one go, let all waves be due, apply them as a worker does.

    That they become due at once is the bench's doing, so what it leaves behind is tidied up first.
    """
    before = rows()
    with counted() as saving:
        changes = change_policies(
            actor=Actor(user),
            based_on={unit.pk: 0 for unit in units},
            setting=Setting.PER_USER_OUTBOUND_GATEWAY,
            value={"allowed": True},
        )
    if len(changes) < len(units):
        raise SystemExit("Some units had that value already.")
    waves = RolloutWave.objects.open().filter(change__in=[each.pk for each in changes])
    waves.update(due_at=F("due_at") - timedelta(seconds=settings.OUTGATE_ROLLOUT_WINDOW))
    with owner_role(), connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE policies_rolloutwave")
    with counted() as applying:
        while due := list(RolloutWave.objects.due().values_list("pk", flat=True)[:SWEEP_LIMIT]):
            apply_waves(due)
    written = rows() - before
    return [
        told(f"rollout, {name}: saving", "", saving, written),
        told(f"rollout, {name}: all waves", goal, applying, written),
    ]


def told(name: str, goal: str, cost: Cost, written: int) -> dict[str, Any]:
    return {
        "name": name,
        "goal": goal,
        "seconds": cost.seconds,
        "statements": cost.statements,
        "rows": written,
    }


def main() -> None:
    wanted = json.load(sys.stdin)
    root = OrgUnit.objects.get_root_nodes()[0]
    unit = OrgUnit.objects.get(name="Unit 3.3")
    superior, reader = make_administrators(root, unit)
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, {"events": wanted["events"]})
    add_addresses(wanted["addresses"])
    with owner_role(), connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    previews = preview(signed_in(superior), root, wanted["rounds"])
    rollouts = roll_out("one change at the root", "root", superior, [root])
    below = list(OrgUnit.objects.exclude(pk=root.pk))
    rollouts += roll_out(f"{len(below):,} units in one go", "units", superior, below)
    with owner_role(), connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    first = PolicyChange.objects.earliest("pk")
    someone = User.objects.get(primary_address=f"person0000042@{DOMAIN}")
    pages = [
        (superior, "overview", reverse("console:overview")),
        (superior, "settings, root", reverse("console:mail_advanced", args=[root.pk])),
        (superior, "settings, unit", reverse("console:mail_advanced", args=[unit.pk])),
        (superior, "settings, unit search", reverse("console:mail_advanced") + "?q=7.1"),
        (superior, "own values", reverse("console:overrides", args=[root.pk])),
        (superior, "rollouts", reverse("console:rollouts")),
        (superior, "rollout at the root", reverse("console:rollout", args=[first.pk])),
        (superior, "audit", reverse("console:audit")),
        (superior, "audit, deep", reverse("console:audit") + f"?before={wanted['events'] // 2}"),
        (superior, "audit, one actor", reverse("console:audit") + "?actor=person0000042@"),
        (superior, "audit, rare event", reverse("console:audit") + "?event=role_assigned"),
        (reader, "audit, one unit's reader", reverse("console:audit")),
        (superior, "administrators", reverse("console:administrators")),
        (superior, "accounts, in support", reverse("admin:accounts_user_changelist")),
        (superior, "accounts", reverse("console:accounts")),
        (superior, "accounts of a unit", reverse("console:accounts") + f"?unit={unit.pk}"),
        (superior, "account", reverse("console:account", args=[someone.pk])),
        (superior, "simulator", reverse("console:simulator") + f"?account={someone}"),
    ]
    measured = [measure(signed_in(who), name, url, wanted["rounds"]) for who, name, url in pages]
    own = list(measure_own(wanted["rounds"]))
    found = {"pages": measured, "previews": previews, "rollouts": rollouts, "own": own}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

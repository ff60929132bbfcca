"""Whom unsaved guardrails would reach, and whose servers they would bar."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from django.db.models import Count, Q, QuerySet

from accounts.models import OrgUnit, User
from console.reached import (
    Applied,
    Cohorts,
    Meanings,
    Value,
    accounts_below,
    accounts_in,
    by_cohorts,
)
from delivery.models import OutboxMessage
from delivery.route_changes import any_of
from policies.guardrails import Guardrail, Guardrails, merge
from policies.models import Setting
from policies.services import database_now
from sendas.models import SendAs

# More names in one condition take longer than reading all rows.
MOST_NAMED = 1000


class Server(NamedTuple):
    """What guardrails look at: addresses that have the same of it can't be told apart."""

    domain: str
    host: str
    port: int
    security: str


@dataclass(frozen=True)
class Group:
    """Accounts that have one value now and would have another; units by their cohorts."""

    now: Value
    then: Value
    units: Cohorts

    def accounts(self, prefix: str = "") -> Q:
        return accounts_in(self.units, prefix)


class Forbidden(NamedTuple):
    """An address, and the guardrail that its server then runs into; None: it is allowed again."""

    send_as: SendAs
    guardrail: Guardrail | None


@dataclass(frozen=True)
class GuardrailImpact:
    """Counted by what has reached each account now, not by what is saved: a rollout may run.

    `accounts` have the value not yet; `accounts_same` keep what they have.
    """

    unit: OrgUnit
    value: Value | None
    counted_at: datetime
    groups: list[Group]
    accounts: int
    accounts_same: int

    @cached_property
    def messages(self) -> int:
        """Waiting in the outbox: each is routed again before it leaves."""
        return OutboxMessage.objects.filter(
            any_of(group.accounts("account__") for group in self.groups),
            state__in=OutboxMessage.UNDER_WAY,
        ).count()

    @cached_property
    def forbidden(self) -> int:
        """Addresses whose server is allowed now and then no longer."""
        return sum(self._turned(now=False)[0].values())

    @cached_property
    def allowed_again(self) -> int:
        return sum(self._turned(now=True)[0].values())

    def listed(self, *, again: bool) -> Iterator[Forbidden]:
        """The addresses that `forbidden` or `allowed_again` counts, as they were added."""
        turned, by_group = self._turned(now=again)
        if not turned:
            return
        for group, servers in by_group:
            rails = _guardrails(group.then)
            found = _own_servers(group.accounts("user__")).filter(_named(servers))
            rows = found.select_related("user", "smtp_msa").order_by("pk")
            for row in rows.iterator(chunk_size=1000):
                msa = row.smtp_msa
                server = Server(row.domain, msa.host, msa.port, msa.security_mode)
                if server in servers:
                    yield Forbidden(row, rails.forbidding(**server._asdict()))

    def _turned(self, *, now: bool) -> tuple[Counter[Server], list[tuple[Group, set[Server]]]]:
        """Servers that are forbidden either now or then; those with `now` are so now."""
        counts: Counter[Server] = Counter()
        by_group = []
        for group, servers in self._servers:
            turned = {server: n for server, (n, is_now) in servers.items() if is_now == now}
            counts.update(turned)
            if turned:
                by_group.append((group, set(turned)))
        return counts, by_group

    @cached_property
    def _servers(self) -> list[tuple[Group, dict[Server, tuple[int, bool]]]]:
        """Those whose answer turns: their addresses, and whether they are forbidden now.

        One query for each group, and one question for each server and domain.
        """
        return [(group, _turning(group)) for group in self.groups]


def _own_servers(of_accounts: Q) -> QuerySet[SendAs]:
    return SendAs.objects.filter(
        of_accounts,
        verification_status=SendAs.VerificationStatus.ACCEPTED,
        smtp_msa__isnull=False,
    )


def _named(servers: set[Server]) -> Q:
    """Addresses at these domains with these hosts; all where there are too many names to tell."""
    names = {
        "domain__in": {server.domain for server in servers},
        "smtp_msa__host__in": {server.host for server in servers},
    }
    return Q(**{field: each for field, each in names.items() if len(each) <= MOST_NAMED})


def _turning(group: Group) -> dict[Server, tuple[int, bool]]:
    now, then = _guardrails(group.now), _guardrails(group.then)
    fields = ("domain", "smtp_msa__host", "smtp_msa__port", "smtp_msa__security_mode")
    found = _own_servers(group.accounts("user__")).values_list(*fields).annotate(Count("pk"))
    turning = {}
    for *known, count in found.order_by():
        server = Server(*known)
        is_now = now.forbidding(**server._asdict()) is not None
        if is_now != (then.forbidding(**server._asdict()) is not None):
            turning[server] = (count, is_now)
    return turning


def _guardrails(value: Value) -> Guardrails:
    return merge([("", 0, value)])


def load_guardrail_impact(unit: OrgUnit, value: Value | None) -> GuardrailImpact:
    """What saving the value (None: inherit) for the unit would change. Three queries."""
    now = Applied(unit, Setting.GATEWAY_GUARDRAILS)
    then = now.with_value(unit, value)
    meanings = Meanings(Setting.GATEWAY_GUARDRAILS)
    values: dict[tuple[str, str], tuple[Value, Value]] = {}
    reached: defaultdict[tuple[str, str], defaultdict[int, set[int]]] = defaultdict(
        lambda: defaultdict(set)
    )
    accounts: Counter[bool] = Counter()
    for unit_id, path, cohort, count in accounts_below(unit):
        turn = now.held(path)[cohort], then.held(path)[cohort]
        meant = meanings.of(turn[0]), meanings.of(turn[1])
        accounts[meant[0] != meant[1]] += count
        if meant[0] != meant[1]:
            values[meant] = turn
            reached[meant][unit_id].add(cohort)
    return GuardrailImpact(
        unit=unit,
        value=value,
        counted_at=database_now(),
        groups=[Group(*values[meant], by_cohorts(units)) for meant, units in reached.items()],
        accounts=accounts[True],
        accounts_same=accounts[False],
    )


def accounts_of(impact: GuardrailImpact) -> QuerySet[User]:
    """Whose value changes, in the order of their addresses."""
    found = User.objects.filter(any_of(group.accounts() for group in impact.groups))
    return found.order_by("primary_address")

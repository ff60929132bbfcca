"""Whom unsaved guardrails would reach, and whose servers they would bar."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Count, F, Q, QuerySet

from accounts.models import OrgUnit, User
from console.reached import (
    Applied,
    Cohorts,
    Meanings,
    Value,
    accounts_below,
    accounts_in,
    by_cohorts,
    group_of,
)
from delivery.models import OutboxMessage
from delivery.route_changes import SERVER, any_of, has_server, is_forbidden
from policies.guardrails import Guardrail, Guardrails, merge
from policies.models import Setting
from policies.services import database_now
from sendas.models import SendAs


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
        return sum(self._turning[False].values())

    @cached_property
    def allowed_again(self) -> int:
        return sum(self._turning[True].values())

    def addresses(self, *, again: bool) -> QuerySet[SendAs]:
        """Those that `forbidden` or `allowed_again` counts, as they were added."""
        turning = self._turning[again]
        if not turning:
            return SendAs.objects.none()
        found = self._own_servers().filter(has_server(F("place"), turning))
        return found.select_related("user", "smtp_msa").order_by("pk")

    def told(self, addresses: Iterable[Any]) -> Iterator[Forbidden]:
        """Each of these addresses with the guardrail that forbids its server then."""
        for row in addresses:
            msa, then = row.smtp_msa, self._guardrails[int(row.place)][1]
            guardrail = then.forbidding(
                domain=row.domain, host=msa.host, port=msa.port, security=msa.security_mode
            )
            yield Forbidden(row, guardrail)

    @cached_property
    def _turning(self) -> dict[bool, Counter[tuple[Any, ...]]]:
        """How many addresses have servers whose answer turns, by whether they are forbidden now.

        Each by the place of its group and what guardrails look at. One query, and one question for
        each of them.
        """
        turning: dict[bool, Counter[tuple[Any, ...]]] = {False: Counter(), True: Counter()}
        if not self.groups:
            return turning
        found = self._own_servers().values_list("place", *SERVER).annotate(Count("pk"))
        for place, *server, count in found.order_by():
            is_now, is_then = (is_forbidden(each, server) for each in self._guardrails[int(place)])
            if is_now != is_then:
                turning[is_now][place, *server] = count
        return turning

    @cached_property
    def _guardrails(self) -> list[tuple[Guardrails, Guardrails]]:
        return [(_merged(group.now), _merged(group.then)) for group in self.groups]

    def _own_servers(self) -> QuerySet[Any]:
        """Of accounts whose value changes, each with the place of its account's group."""
        return SendAs.objects.filter(
            any_of(group.accounts("user__") for group in self.groups),
            verification_status=SendAs.VerificationStatus.ACCEPTED,
            smtp_msa__isnull=False,
        ).annotate(place=group_of((group.units for group in self.groups), "user__"))


def _merged(value: Value) -> Guardrails:
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
    peopled: defaultdict[int, set[int]] = defaultdict(set)
    accounts: Counter[bool] = Counter()
    for unit_id, path, cohort, count in accounts_below(unit):
        turn = now.held(path)[cohort], then.held(path)[cohort]
        meant = meanings.of(turn[0]), meanings.of(turn[1])
        accounts[meant[0] != meant[1]] += count
        peopled[unit_id].add(cohort)
        if meant[0] != meant[1]:
            values[meant] = turn
            reached[meant][unit_id].add(cohort)
    return GuardrailImpact(
        unit=unit,
        value=value,
        counted_at=database_now(),
        groups=[
            Group(*values[meant], by_cohorts(units, peopled)) for meant, units in reached.items()
        ],
        accounts=accounts[True],
        accounts_same=accounts[False],
    )


def accounts_of(impact: GuardrailImpact) -> QuerySet[User]:
    """Whose value changes, in the order of their addresses."""
    found = User.objects.filter(any_of(group.accounts() for group in impact.groups))
    return found.order_by("primary_address")

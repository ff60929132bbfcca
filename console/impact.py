"""Whom a value would reach that is not saved yet, and what it would change there."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import OrgUnit, User
from accounts.models.directory import lineage
from console.reached import (
    Applied,
    Cohorts,
    Meanings,
    Value,
    accounts_below,
    accounts_in,
    by_cohorts,
)
from console.unit_setting import GATEWAY, UnitSetting, state_of
from delivery.models import OutboxMessage
from delivery.route_changes import Gain, Turn, any_of, barred_by, count_turns, takes, with_class
from policies.guardrails import merge
from policies.models import GatewayFailure, GatewayPolicy, Setting
from policies.services import database_now
from policies.words import value_in_words
from sendas.models import SendAs

# For each of the choices what to do when a server does not work: units by cohorts.
Groups = dict[GatewayFailure, Cohorts]


@dataclass(frozen=True)
class Impact:
    """Counted by what has reached each account now, not by what is saved: a rollout may run.

    `changed` holds the units whose accounts gain or lose the right, by the cohorts that do;
    `guarded` those of them that have guardrails, beside these.
    `accounts_apart` are those of units below with values of their own.
    """

    setting: UnitSetting
    state: str
    allowed: bool
    counted_at: datetime
    changed: Groups
    guarded: list[tuple[Value, Cohorts]]
    accounts: int
    accounts_same: int
    accounts_apart: int
    units_apart: int

    @property
    def value_text(self) -> str:
        return value_in_words(GATEWAY, {"allowed": self.allowed})

    @property
    def before_text(self) -> str:
        return value_in_words(GATEWAY, {"allowed": not self.allowed})

    @cached_property
    def turns(self) -> Counter[Turn]:
        """One query for each choice that some of the accounts have, besides those of `barred`."""
        turns: Counter[Turn] = Counter()
        for choice in self.changed:
            addresses = SendAs.objects.filter(self._of_accounts("user__", choice))
            turns += count_turns(addresses, Gain(self.allowed, choice), self.barred)
        return turns

    @cached_property
    def barred(self) -> Q:
        """Addresses whose server guardrails bar. One query for each different value of these."""
        found = []
        for value, cohorts in self.guarded:
            of_accounts = accounts_in(cohorts, "user__")
            addresses = SendAs.objects.filter(of_accounts)
            found.append(of_accounts & barred_by(merge([("", 0, value)]), addresses))
        return any_of(found)

    @cached_property
    def messages(self) -> int:
        return self.waiting().count()

    def users(self) -> QuerySet[User]:
        """Who gains or loses the right, in the order of their addresses."""
        return User.objects.filter(self._of_accounts("")).order_by("primary_address")

    def addresses(self, turn: Turn) -> QuerySet[SendAs]:
        """Whose mail takes that turn, in the order in which they were added."""
        wanted = [
            self._of_accounts("user__", choice) & takes(turn, Gain(self.allowed, choice))
            for choice in self.changed
        ]
        found = with_class(SendAs.objects.all(), self.barred).filter(any_of(wanted))
        return found.select_related("user", "smtp_msa").order_by("pk")

    def waiting(self) -> QuerySet[OutboxMessage]:
        """Messages of these accounts in the outbox: each is routed again before it leaves."""
        under_way = OutboxMessage.objects.filter(state__in=OutboxMessage.UNDER_WAY)
        found = under_way.filter(self._of_accounts("account__"))
        return found.select_related("account").order_by("pk")

    def _of_accounts(self, prefix: str, choice: GatewayFailure | None = None) -> Q:
        return any_of(
            accounts_in(cohorts, prefix)
            for each, cohorts in self.changed.items()
            if choice in {None, each}
        )


def load_impact(setting: UnitSetting, value: dict[str, Any] | None) -> Impact:
    """What saving the value (None: inherit) for the unit would change. Seven queries."""
    unit = setting.unit
    then = setting.inherited.allowed if value is None else bool(value["allowed"])
    apart = _units_apart(unit)
    now, guardrails = _Now(unit, allowed=then), _Guardrails(unit)
    changed: defaultdict[GatewayFailure, defaultdict[frozenset[int], set[int]]] = defaultdict(
        lambda: defaultdict(set)
    )
    accounts: Counter[str] = Counter()
    for unit_id, path, cohort, count in accounts_below(unit):
        if not apart.isdisjoint(lineage(path)):
            accounts["apart"] += count
        elif choice := now.choice_of(path, cohort):
            accounts["changed"] += count
            changed[choice][now.changing(path)[choice]].add(unit_id)
            guardrails.add(unit_id, path, cohort)
        else:
            accounts["same"] += count
    return Impact(
        setting=setting,
        state=state_of(value),
        allowed=then,
        counted_at=database_now(),
        changed={
            choice: {cohorts: sorted(units) for cohorts, units in groups.items()}
            for choice, groups in changed.items()
        },
        guarded=guardrails.groups(),
        accounts=accounts["changed"],
        accounts_same=accounts["same"],
        accounts_apart=accounts["apart"],
        units_apart=len(apart),
    )


class _Guardrails:
    """Accounts by the guardrails that have reached them, but for those without any."""

    def __init__(self, unit: OrgUnit) -> None:
        self._applied = Applied(unit, Setting.GATEWAY_GUARDRAILS)
        self._meanings = Meanings(Setting.GATEWAY_GUARDRAILS)
        self._values: dict[str, Value] = {}
        self._units: defaultdict[str, defaultdict[int, set[int]]] = defaultdict(
            lambda: defaultdict(set)
        )

    def add(self, unit_id: int, path: str, cohort: int) -> None:
        value = self._applied.held(path)[cohort]
        if value:
            meant = self._meanings.of(value)
            self._values[meant] = value
            self._units[meant][unit_id].add(cohort)

    def groups(self) -> list[tuple[Value, Cohorts]]:
        return [(self._values[meant], by_cohorts(units)) for meant, units in self._units.items()]


class _Now:
    """Which cohorts of which units would change, and what their units do on failure."""

    def __init__(self, unit: OrgUnit, *, allowed: bool) -> None:
        self._allowed = allowed
        self._gateways = Applied(unit, GATEWAY)
        self._failures = Applied(unit, Setting.GATEWAY_FAILURE)
        self._known: dict[str, dict[GatewayFailure, frozenset[int]]] = {}

    def choice_of(self, path: str, cohort: int) -> GatewayFailure | None:
        """What the accounts have as choice on failure; None where nothing changes for them."""
        for choice, cohorts in self.changing(path).items():
            if cohort in cohorts:
                return choice
        return None

    def changing(self, path: str) -> dict[GatewayFailure, frozenset[int]]:
        """Cohorts of the unit at `path` that don't have the value yet, by their choice.

        Few different ones come back, for most units are at the same wave: so what is asked of the
        database with them stays short.
        """
        if path not in self._known:
            found: defaultdict[GatewayFailure, set[int]] = defaultdict(set)
            failures = self._failures.held(path)
            for cohort, value in self._gateways.held(path).items():
                if bool(value["allowed"]) != self._allowed:
                    found[GatewayFailure(failures[cohort]["choice"])].add(cohort)
            self._known[path] = {choice: frozenset(each) for choice, each in found.items()}
        return self._known[path]


def _units_apart(unit: OrgUnit) -> set[str]:
    """The paths of the units below that have a value of their own: the change ends there."""
    rows = GatewayPolicy.objects.filter(
        setting=GATEWAY, value__isnull=False, unit__path__startswith=unit.path
    ).exclude(unit=unit)
    return set(rows.values_list("unit__path", flat=True))

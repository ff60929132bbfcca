"""Whom a value would reach that is not saved yet, and what it would change there."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import OrgUnit, User
from accounts.models.directory import lineage
from console.reached import Applied, accounts_below
from console.unit_setting import GATEWAY, UnitSetting, state_of
from delivery.models import OutboxMessage
from delivery.route_changes import Gain, Turn, any_of, count_turns, takes, with_class
from policies.models import GatewayFailure, GatewayPolicy, Setting
from policies.services import database_now
from policies.words import value_in_words
from sendas.models import SendAs

# For each of the choices what to do when a server does not work: units by cohorts.
Groups = dict[GatewayFailure, dict[frozenset[int], list[int]]]


@dataclass(frozen=True)
class Impact:
    """Counted by what has reached each account now, not by what is saved: a rollout may run.

    `changed` holds the units whose accounts gain or lose the right, by the cohorts that do.
    `accounts_apart` are those of units below with values of their own.
    """

    setting: UnitSetting
    state: str
    allowed: bool
    counted_at: datetime
    changed: Groups
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
        """One query for each choice that some of the accounts have."""
        turns: Counter[Turn] = Counter()
        for choice in self.changed:
            addresses = SendAs.objects.filter(self._of_accounts("user__", choice))
            turns += count_turns(addresses, Gain(self.allowed, choice))
        return turns

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
        found = with_class(SendAs.objects.all()).filter(any_of(wanted))
        return found.select_related("user", "smtp_msa").order_by("pk")

    def waiting(self) -> QuerySet[OutboxMessage]:
        """Messages of these accounts in the outbox: each is routed again before it leaves."""
        under_way = OutboxMessage.objects.filter(state__in=OutboxMessage.UNDER_WAY)
        found = under_way.filter(self._of_accounts("account__"))
        return found.select_related("account").order_by("pk")

    def _of_accounts(self, prefix: str, choice: GatewayFailure | None = None) -> Q:
        return any_of(
            Q(**{f"{prefix}unit_id__in": units, f"{prefix}cohort__in": cohorts})
            for each, groups in self.changed.items()
            for cohorts, units in groups.items()
            if choice in {None, each}
        )


def load_impact(setting: UnitSetting, value: dict[str, Any] | None) -> Impact:
    """What saving the value (None: inherit) for the unit would change. Six queries."""
    unit = setting.unit
    then = setting.inherited.allowed if value is None else bool(value["allowed"])
    apart = _units_apart(unit)
    now = _Now(unit, allowed=then)
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
        accounts=accounts["changed"],
        accounts_same=accounts["same"],
        accounts_apart=accounts["apart"],
        units_apart=len(apart),
    )


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

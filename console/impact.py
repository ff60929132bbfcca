"""Whom a value would reach that is not saved yet, and what it would change there."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db.models import Q, QuerySet

from accounts.models import OrgUnit, User
from console.reached import Cohorts, Value, accounts_in, group_of
from delivery.models import OutboxMessage
from delivery.route_changes import Shift, Turn, any_of, barred_by, count_turns, takes, with_class
from policies.guardrails import merge
from policies.words import value_in_words
from sendas.models import SendAs


@dataclass(frozen=True, kw_only=True)
class Impact:
    """Counted by what has reached each account now, not by what is saved: a rollout may run.

    `asked` is the value as an address carries it. `changed` holds the units whose accounts get it,
    by the cohorts that do; `guarded` those of them that have guardrails, beside these.
    `accounts_same` have it already; `accounts_apart` are those of units below with values of their
    own, where these are told apart.
    """

    unit: OrgUnit
    setting: str
    asked: str
    before_text: str
    then: Value
    counted_at: datetime
    changed: dict[Shift, Cohorts]
    guarded: list[tuple[Value, Cohorts]]
    accounts: int
    accounts_same: int
    accounts_apart: int = 0
    units_apart: int = 0

    @property
    def value_text(self) -> str:
        return value_in_words(self.setting, self.then)

    @cached_property
    def turns(self) -> Counter[Turn]:
        """One query for each shift, besides that of `barred`."""
        turns: Counter[Turn] = Counter()
        for shift in self.changed:
            addresses = SendAs.objects.filter(self._of_accounts("user__", shift))
            turns += count_turns(addresses, shift, self.barred)
        return turns

    @cached_property
    def barred(self) -> Q:
        """Addresses whose server guardrails bar. One query, none where nobody has guardrails."""
        if not self.guarded:
            return any_of([])
        guardrails = [merge([("", 0, value)]) for value, _cohorts in self.guarded]
        place = group_of((cohorts for _value, cohorts in self.guarded), "user__")
        return barred_by(guardrails, place, SendAs.objects.filter(self._of_accounts("user__")))

    @cached_property
    def messages(self) -> int:
        return self.waiting().count()

    def users(self) -> QuerySet[User]:
        """Whom it changes something for, in the order of their addresses."""
        return User.objects.filter(self._of_accounts("")).order_by("primary_address")

    def addresses(self, turn: Turn) -> QuerySet[SendAs]:
        """Whose mail takes that turn, in the order in which they were added."""
        wanted = [self._of_accounts("user__", shift) & takes(turn, shift) for shift in self.changed]
        found = with_class(SendAs.objects.all(), self.barred).filter(any_of(wanted))
        return found.select_related("user", "smtp_msa").order_by("pk")

    def waiting(self) -> QuerySet[OutboxMessage]:
        """Messages of these accounts in the outbox: each is routed again before it leaves."""
        under_way = OutboxMessage.objects.filter(state__in=OutboxMessage.UNDER_WAY)
        found = under_way.filter(self._of_accounts("account__"))
        return found.select_related("account").order_by("pk")

    def _of_accounts(self, prefix: str, shift: Shift | None = None) -> Q:
        return any_of(
            accounts_in(cohorts, prefix)
            for each, cohorts in self.changed.items()
            if shift in {None, each}
        )

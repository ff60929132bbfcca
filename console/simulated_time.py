"""The policy of another time than now, and what has changed since that can't be taken back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import AuditEvent, OrgUnit, User
from accounts.models.people import EXPRESS_COHORT
from console.audit_words import EVENTS
from delivery.policy_trail import PolicyTrail, planned_trail, policy_trail
from policies.models import Setting
from policies.services import Moment, cohort_at, values_at, values_planned
from sendas.models import SendAs, SmtpMsa

MINUTE = timedelta(minutes=1)  # as exactly as a browser's field asks for a time
_OF_ACCOUNT = ("account_moved", "account_suspended", "account_restored")
_OF_ALIAS = ("alias_added", "alias_removed")
_OF_ADDRESS = (
    "send_as_added", "send_as_verified", "send_as_suspended", "send_as_deleted",
    "gateway_set", "gateway_removed", "gateway_approved", "gateway_refused",
)  # fmt: skip


class Since(NamedTuple):
    """What happened after a past time to what a decision of today is made of."""

    at: datetime
    text: str


@dataclass(frozen=True)
class When:
    """A time that is not now. `until`: the end of its minute, up to which all is taken in."""

    until: datetime
    moment: Moment
    is_past: bool
    since: list[Since] = field(default_factory=list)

    @property
    def is_express(self) -> bool:
        return self.moment.cohort == EXPRESS_COHORT

    def trail(self, explanation: Mapping[str, Any]) -> PolicyTrail:
        decider = self.moment.deciding(Setting.PER_USER_OUTBOUND_GATEWAY)
        if not self.is_past:
            is_coming = decider in self.moment.coming
            return planned_trail(explanation, decider, is_coming=is_coming)
        return policy_trail(explanation, before=self.until)._replace(
            change=decider.change if decider else None,
            reached_at=decider.at if decider else None,
        )


def past(user: User, address: str, at: datetime) -> When:
    """Five queries."""
    until = at + MINUTE
    moment = values_at(user.unit.path, cohort_at(user, until), until)
    return When(until, moment, is_past=True, since=_since(user, address, until))


def planned(user: User, at: datetime) -> When:
    """Six queries."""
    until = at + MINUTE
    return When(until, values_planned(user.unit.path, user.cohort, until), is_past=False)


def _since(user: User, address: str, until: datetime) -> list[Since]:
    found = [*_events(user, address, until), *_server(user, address)]
    found.append(Since(user.created_at, str(EVENTS["account_created"])))
    return sorted(each for each in found if each.at > until)


def _events(user: User, address: str, until: datetime) -> Iterator[Since]:
    primary = user.primary_address
    above = OrgUnit.objects.filter(path__in=user.unit.lineage)
    events = AuditEvent.objects.filter(
        Q(name__in=(*_OF_ACCOUNT, *_OF_ALIAS), target=primary)
        | Q(name__in=_OF_ADDRESS, target=address)
        | Q(name="unit_moved", unit_id__in=above.values("pk")),
        at__gt=max(until, user.created_at),  # the address may have been somebody else's before
    )
    for event in events:
        about = event.details.get("old") or event.details.get("new")
        if event.name in _OF_ALIAS and about != address:
            continue
        if event.name in _OF_ADDRESS and event.details.get("account") != primary:
            continue
        yield Since(event.at, str(EVENTS[event.name]))


def _server(user: User, address: str) -> Iterator[Since]:
    """What becomes of a server's password stands in no audit event of its address."""
    row = SendAs.objects.filter(user=user, send_as_email=address).select_related("smtp_msa").first()
    msa: SmtpMsa | None = getattr(row, "smtp_msa", None)
    if msa and msa.refused_at:
        yield Since(msa.refused_at, _("Its own server refused the password"))
    if msa and msa.wiped_at:
        yield Since(msa.wiped_at, _("The password for its own server deleted"))

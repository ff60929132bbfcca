"""Whether an account may use own servers now, and when that changes."""

from datetime import datetime
from typing import NamedTuple

from accounts.models import User
from policies.models import Setting
from policies.services import forecast


class Allowance(NamedTuple):
    """What is applied to an account. `unit` decided it, "" where nobody did.

    `is_turning` while a change that turns it is on its way, decided at `decided_at`: it starts at
    `starts_at` where it is only scheduled, and reaches the account by `changes_by`, which is None
    while it is paused.
    """

    allowed: bool
    unit: str
    since: datetime | None
    is_turning: bool = False
    decided_at: datetime | None = None
    starts_at: datetime | None = None
    changes_by: datetime | None = None

    @property
    def is_paused(self) -> bool:
        return self.is_turning and self.changes_by is None

    @property
    def stage(self) -> str:
        """A page that shows one stage is out of date once there is another."""
        if not self.is_turning:
            return "on" if self.allowed else "off"
        turning = "going" if self.allowed else "coming"
        return f"{turning}-{self.changes_by.timestamp():.0f}" if self.changes_by else turning


def gateway_allowance(user: User) -> Allowance:
    """As applied to the account's unit and cohort, and as saved or scheduled but not there yet."""
    told = forecast(user, Setting.PER_USER_OUTBOUND_GATEWAY)
    now = Allowance(
        allowed=told.allowed,
        unit=told.applied.unit.name if told.applied else "",
        since=told.applied.applied_at if told.applied else None,
    )
    turn = told.turn
    if turn is None:
        return now
    return now._replace(
        is_turning=True,
        decided_at=turn.change.created_at,
        starts_at=turn.change.starts_at if turn.is_scheduled else None,
        changes_by=turn.at,
    )

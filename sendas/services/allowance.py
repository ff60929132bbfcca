"""Whether an account may use own servers now, and when that changes."""

from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from accounts.models import OrgUnit, User
from policies.models import DEFAULTS, AppliedPolicy, RolloutWave, Setting
from policies.services import saved_value

SETTING = Setting.PER_USER_OUTBOUND_GATEWAY


class Allowance(NamedTuple):
    """What is applied to an account. `unit` decided it, "" where nobody did.

    `changes_by` is the time by which the opposite reaches the account, None where none is coming.
    """

    allowed: bool
    unit: str
    since: datetime | None
    changes_by: datetime | None

    @property
    def stage(self) -> str:
        """A page that shows one stage is out of date once there is another."""
        if self.changes_by:
            return "going" if self.allowed else "coming"
        return "on" if self.allowed else "off"


def gateway_allowance(user: User) -> Allowance:
    """As applied to the account's unit and cohort, and as saved but not there yet."""
    applied = AppliedPolicy.objects.filter(cohort=user.cohort).deciding(SETTING, user.unit.path)
    allowed = bool((applied.value if applied else DEFAULTS[SETTING])["allowed"])
    coming = saved_value(user.unit, SETTING).allowed != allowed
    return Allowance(
        allowed=allowed,
        unit=applied.unit.name if applied else "",
        since=applied.applied_at if applied else None,
        changes_by=_last_wave(user) if coming else None,
    )


def _last_wave(user: User) -> datetime | None:
    """When the last open change of a unit above the account reaches its cohort."""
    units = OrgUnit.objects.filter(path__in=user.unit.lineage)
    wave = (
        RolloutWave.objects.open()
        .filter(
            cohort=user.cohort,
            change__setting=SETTING,
            change__unit_id__in=units.values_list("pk", flat=True),
        )
        .select_related("change")
        .order_by("due_at")
        .last()
    )
    if wave is None:
        return None
    # A late wave still comes within the window.
    return wave.due_at if wave.due_at > timezone.now() else wave.change.complete_by

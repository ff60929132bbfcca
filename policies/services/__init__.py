"""Changing a unit's setting, carrying the change to the cohorts, and asking what holds."""

from policies.services.actions import (
    apply_now,
    cancel,
    pause,
    possible_actions,
    reschedule,
    resume,
    undo,
)
from policies.services.changes import (
    FURTHEST,
    MovedUnitError,
    StalePolicyError,
    UnitGoneError,
    change_policies,
    change_policy,
    newest_change,
    scheduled_changes,
)
from policies.services.clock import database_now
from policies.services.effective import (
    Effective,
    applied_guardrails,
    applied_value,
    inherited_guardrails,
    inherited_value,
    saved_value,
)
from policies.services.express import apply_now_to_account, return_express_guests
from policies.services.forecast import (
    LATE,
    Forecast,
    Forecasts,
    Step,
    forecast,
    forecasts,
    forecasts_by_account,
)
from policies.services.moments import Arrival, Moment, cohort_at, values_at, values_planned
from policies.services.starting import start_due_changes
from policies.services.waves import (
    Progress,
    applied_cohorts,
    apply_waves,
    change_progress,
    rollout_state,
)

__all__ = [
    "FURTHEST",
    "LATE",
    "Arrival",
    "Effective",
    "Forecast",
    "Forecasts",
    "Moment",
    "MovedUnitError",
    "Progress",
    "StalePolicyError",
    "Step",
    "UnitGoneError",
    "applied_cohorts",
    "applied_guardrails",
    "applied_value",
    "apply_now",
    "apply_now_to_account",
    "apply_waves",
    "cancel",
    "change_policies",
    "change_policy",
    "change_progress",
    "cohort_at",
    "database_now",
    "forecast",
    "forecasts",
    "forecasts_by_account",
    "inherited_guardrails",
    "inherited_value",
    "newest_change",
    "pause",
    "possible_actions",
    "reschedule",
    "resume",
    "return_express_guests",
    "rollout_state",
    "saved_value",
    "scheduled_changes",
    "start_due_changes",
    "undo",
    "values_at",
    "values_planned",
]

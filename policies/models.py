from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit
from accounts.models.directory import lineage
from policies.guardrails import Guardrails, merge


class Setting(models.TextChoices):
    """What can be set for a unit. The key is (unit, setting); each value is a JSON object."""

    PER_USER_OUTBOUND_GATEWAY = "per_user_outbound_gateway", _("Per-user outbound gateways")
    GATEWAY_FAILURE = "gateway_failure", _("When an address's own server does not work")
    GATEWAY_GUARDRAILS = "gateway_guardrails", _("Guardrails")
    OUTBOUND_GATEWAY = "outbound_gateway", _("Outbound gateway")


class GatewayFailure(models.TextChoices):
    """The `choice` in a value of GATEWAY_FAILURE."""

    REFUSE = "refuse", _("Refuse the message")
    HOLD = "hold", _("Hold it and try again")
    OUR_SERVERS = "our_servers", _("Send it by our servers, on behalf of the primary address")


# Holds where no unit on the way up has a value.
DEFAULTS: dict[str, dict[str, Any]] = {
    Setting.PER_USER_OUTBOUND_GATEWAY: {"allowed": False},
    Setting.GATEWAY_FAILURE: {"choice": GatewayFailure.REFUSE.value},
    Setting.GATEWAY_GUARDRAILS: {},
    # The relay that OUTGATE_RELAY_URL names.
    Setting.OUTBOUND_GATEWAY: {"server": None},
}


class UnitValueQuerySet(models.QuerySet[Any]):
    """Values by unit, saved or applied: the deepest value that is not NULL holds.

    But guardrails are merged from all of them (policies/guardrails.py).
    """

    def deciding(self, setting: str, unit_path: str) -> Any | None:
        """The row that decides for a unit, its unit joined; None where nothing is set."""
        return (
            self.filter(setting=setting, unit__path__in=lineage(unit_path), value__isnull=False)
            .select_related("unit")
            .order_by("-unit__path")
            .first()
        )

    def guardrails(self, unit_path: str) -> Guardrails:
        """What all units from the topmost down to this one say together: one query."""
        rows = self.filter(
            setting=Setting.GATEWAY_GUARDRAILS,
            unit__path__in=lineage(unit_path),
            value__isnull=False,
        )
        return merge(rows.order_by("unit__path").values_list("unit__name", "version", "value"))


class GatewayPolicy(models.Model):
    """What a unit is set to: the saved value, or NULL for inherit, and its newest version."""

    # No index of its own here and below: that of the constraint begins with the same column.
    unit = models.ForeignKey(
        OrgUnit,
        on_delete=models.CASCADE,
        related_name="policies",
        verbose_name=_("unit"),
        db_index=False,
    )
    setting = models.CharField(_("setting"), max_length=40, choices=Setting.choices)
    value = models.JSONField(null=True)
    version = models.PositiveIntegerField(_("version"))

    objects = UnitValueQuerySet.as_manager()

    class Meta:
        verbose_name = _("policy")
        verbose_name_plural = _("policies")
        constraints = [
            models.UniqueConstraint(fields=["unit", "setting"], name="one_policy_per_setting"),
        ]

    def __str__(self) -> str:
        return f"{self.get_setting_display()}: {self.unit.name}, version {self.version}"


class ChangeQuerySet(models.QuerySet["PolicyChange"]):
    def scheduled(self) -> "ChangeQuerySet":
        """Those that wait for their time, in the order in which they start."""
        return self.filter(version=None, cancelled_at=None).order_by("starts_at", "id")

    def due(self) -> "ChangeQuerySet":
        """Scheduled changes whose time has come by PostgreSQL's clock."""
        return self.scheduled().filter(starts_at__lte=Now())


class PolicyChange(models.Model):
    """One saved change, for good: unit and administrator are kept as text besides their ids.

    It has a `version` from the moment it starts; until then it is scheduled, or `cancelled_at`.
    """

    created_at = models.DateTimeField(_("saved"), db_default=Now(), editable=False)
    actor_id = models.UUIDField(null=True, editable=False)
    actor_address = models.CharField(_("saved by"), max_length=254, editable=False)
    unit_id = models.BigIntegerField(editable=False)
    unit_path = models.CharField(_("unit"), max_length=1000, editable=False)
    setting = models.CharField(_("setting"), max_length=40, choices=Setting.choices)
    old = models.JSONField(_("old value"), null=True, editable=False)
    new = models.JSONField(_("new value"), null=True, editable=False)
    reason = models.CharField(_("reason"), max_length=500, blank=True, editable=False)
    version = models.PositiveIntegerField(_("version"), null=True, editable=False)
    undoes = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="undone_by", editable=False
    )
    starts_at = models.DateTimeField(_("starts"), editable=False)
    complete_by = models.DateTimeField(_("complete by"), editable=False)
    cancelled_at = models.DateTimeField(_("cancelled"), null=True, editable=False)

    objects = ChangeQuerySet.as_manager()

    class Meta:
        verbose_name = _("policy change")
        verbose_name_plural = _("policy changes")
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["unit_id", "setting", "version"], name="one_change_per_version"
            ),
            models.CheckConstraint(
                condition=Q(version=None) | Q(cancelled_at=None), name="cancelled_never_started"
            ),
        ]
        indexes = [
            models.Index(
                fields=["starts_at"],
                condition=Q(version=None, cancelled_at=None),
                name="scheduled_changes",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.unit_path}"


class RolloutAction(models.Model):
    """What was done to a change after it was saved. Their number is the state that a page saw."""

    class Kind(models.TextChoices):
        STARTED = "started", _("Started")
        RESCHEDULED = "rescheduled", _("Rescheduled")
        CANCELLED = "cancelled", _("Cancelled")
        PAUSED = "paused", _("Paused")
        RESUMED = "resumed", _("Resumed")
        APPLIED_NOW = "applied_now", _("Applied now")
        UNDONE = "undone", _("Undone")

    change = models.ForeignKey(PolicyChange, on_delete=models.CASCADE, related_name="actions")
    kind = models.CharField(_("what"), max_length=11, choices=Kind.choices)
    at = models.DateTimeField(_("at"), db_default=Now())
    actor_id = models.UUIDField(null=True)
    actor_address = models.CharField(_("by"), max_length=254, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("action")
        verbose_name_plural = _("actions")
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.change_id}: {self.kind}"


class WaveQuerySet(models.QuerySet["RolloutWave"]):
    def open(self) -> "WaveQuerySet":
        return self.filter(applied_at=None, superseded_at=None)

    def due(self) -> "WaveQuerySet":
        """Open waves whose time has come by PostgreSQL's clock, the oldest first."""
        return self.open().filter(paused_at=None, due_at__lte=Now()).order_by("due_at", "id")


class RolloutWave(models.Model):
    """The part of a change that reaches one cohort: open, then applied or superseded.

    Pausing writes on each open wave, not on the change: a worker that claims one meanwhile waits,
    and looks at it anew.
    """

    change = models.ForeignKey(
        PolicyChange, on_delete=models.CASCADE, related_name="waves", db_index=False
    )
    cohort = models.SmallIntegerField(_("cohort"))
    due_at = models.DateTimeField(_("due"))
    applied_at = models.DateTimeField(_("applied"), null=True)
    superseded_at = models.DateTimeField(_("superseded"), null=True)
    paused_at = models.DateTimeField(_("paused"), null=True)

    objects = WaveQuerySet.as_manager()

    class Meta:
        verbose_name = _("wave")
        verbose_name_plural = _("waves")
        ordering = ("due_at", "cohort")
        constraints = [
            models.UniqueConstraint(fields=["change", "cohort"], name="one_wave_per_cohort"),
            models.CheckConstraint(
                condition=Q(applied_at=None) | Q(superseded_at=None),
                name="wave_ends_one_way",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(applied_at=None, superseded_at=None),
                name="open_waves",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.change_id}/{self.cohort}"


class AppliedPolicy(models.Model):
    """What holds for one cohort of one unit. `version` only ever rises.

    NULL is "inherit" with its version: were the row deleted instead, a late wave could revive the
    old value.
    """

    cohort = models.SmallIntegerField()
    # Whoever writes a row holds its unit: see apply_waves.
    unit = models.ForeignKey(
        OrgUnit, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    setting = models.CharField(max_length=40, choices=Setting.choices)
    value = models.JSONField(null=True)
    version = models.PositiveIntegerField()
    applied_at = models.DateTimeField(db_default=Now())

    objects = UnitValueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["unit", "setting", "cohort"], name="one_applied_value"),
        ]

    def __str__(self) -> str:
        return f"{self.unit_id}/{self.cohort} {self.setting}, version {self.version}"

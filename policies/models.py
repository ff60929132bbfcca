from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import OrgUnit
from accounts.models.directory import lineage


class Setting(models.TextChoices):
    """What can be set for a unit. The key is (unit, setting); each value is a JSON object."""

    PER_USER_OUTBOUND_GATEWAY = "per_user_outbound_gateway", _("Per-user outbound gateways")


# Holds where no unit on the way up has a value.
DEFAULTS: dict[str, dict[str, Any]] = {
    Setting.PER_USER_OUTBOUND_GATEWAY: {"allowed": False},
}


class UnitValueQuerySet(models.QuerySet[Any]):
    """Values by unit, saved or applied: the deepest value that is not NULL holds."""

    def deciding(self, setting: str, unit_path: str) -> Any | None:
        """The row that decides for a unit, its unit joined; None where nothing is set."""
        return (
            self.filter(setting=setting, unit__path__in=lineage(unit_path), value__isnull=False)
            .select_related("unit")
            .order_by("-unit__path")
            .first()
        )


class GatewayPolicy(models.Model):
    """What a unit is set to: the saved value, or NULL for inherit, and its newest version."""

    unit = models.ForeignKey(OrgUnit, on_delete=models.CASCADE, related_name="policies")
    setting = models.CharField(max_length=40, choices=Setting.choices)
    value = models.JSONField(null=True)
    version = models.PositiveIntegerField()

    objects = UnitValueQuerySet.as_manager()

    class Meta:
        verbose_name = _("policy")
        verbose_name_plural = _("policies")
        constraints = [
            models.UniqueConstraint(fields=["unit", "setting"], name="one_policy_per_setting"),
        ]

    def __str__(self) -> str:
        return f"{self.get_setting_display()}: {self.unit.name}, version {self.version}"


class PolicyChange(models.Model):
    """One saved change, for good: unit and administrator are kept as text besides their ids."""

    created_at = models.DateTimeField(_("saved"), db_default=Now(), editable=False)
    actor_id = models.UUIDField(null=True, editable=False)
    actor_address = models.CharField(_("saved by"), max_length=254, editable=False)
    unit_id = models.BigIntegerField(editable=False)
    unit_path = models.CharField(_("unit"), max_length=1000, editable=False)
    setting = models.CharField(_("setting"), max_length=40, choices=Setting.choices)
    old = models.JSONField(_("old value"), null=True, editable=False)
    new = models.JSONField(_("new value"), null=True, editable=False)
    reason = models.CharField(_("reason"), max_length=500, blank=True, editable=False)
    version = models.PositiveIntegerField(_("version"), editable=False)
    starts_at = models.DateTimeField(_("starts"), editable=False)
    complete_by = models.DateTimeField(_("complete by"), editable=False)

    class Meta:
        verbose_name = _("policy change")
        verbose_name_plural = _("policy changes")
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["unit_id", "setting", "version"], name="one_change_per_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.unit_path}, version {self.version}"


class WaveQuerySet(models.QuerySet["RolloutWave"]):
    def open(self) -> "WaveQuerySet":
        return self.filter(applied_at=None, superseded_at=None)

    def due(self) -> "WaveQuerySet":
        """Open waves whose time has come by PostgreSQL's clock, the oldest first."""
        return self.open().filter(due_at__lte=Now()).order_by("due_at", "id")


class RolloutWave(models.Model):
    """The part of a change that reaches one cohort: open, then applied or superseded."""

    change = models.ForeignKey(PolicyChange, on_delete=models.CASCADE, related_name="waves")
    cohort = models.SmallIntegerField()
    due_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)
    superseded_at = models.DateTimeField(null=True)

    objects = WaveQuerySet.as_manager()

    class Meta:
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
    unit = models.ForeignKey(OrgUnit, on_delete=models.CASCADE, related_name="+")
    setting = models.CharField(max_length=40, choices=Setting.choices)
    value = models.JSONField(null=True)
    version = models.PositiveIntegerField()
    applied_at = models.DateTimeField(db_default=Now())

    objects = UnitValueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cohort", "unit", "setting"], name="one_applied_value"),
        ]

    def __str__(self) -> str:
        return f"{self.unit_id}/{self.cohort} {self.setting}, version {self.version}"

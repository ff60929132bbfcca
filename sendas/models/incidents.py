from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sendas.models.troubles import Trouble


class HostIncidentQuerySet(models.QuerySet["HostIncident"]):
    def open(self) -> "HostIncidentQuerySet":
        return self.filter(ended_at=None)

    def due(self) -> "HostIncidentQuerySet":
        """Those that nobody has been told yet, and nobody is just being told."""
        return self.filter(mailed_at=None, next_try_at__lte=Now())


class HostIncident(models.Model):
    """Many accounts at one server are in the same trouble: super administrators hear once.

    `accounts` as they were counted then, `begun_at` when the first of those came into the trouble.
    """

    host = models.CharField(max_length=253)
    trouble = models.CharField(
        max_length=11,
        choices=Trouble.choices,
        default=Trouble.REFUSED,
        db_default=Trouble.REFUSED.value,
    )
    accounts = models.PositiveIntegerField()
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(db_default=Now())
    mailed_at = models.DateTimeField(null=True)

    objects = HostIncidentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["host", "trouble"],
                condition=Q(ended_at=None),
                name="one_open_incident_a_host_and_trouble",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at"], condition=Q(mailed_at=None), name="unmailed_incidents"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}: {self.accounts}"

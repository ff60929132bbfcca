from django.db import models
from django.db.models.functions import Now


class LastSweep(models.Model):
    """When the sweep of a name, as beat's schedule has it, last ran: by PostgreSQL's clock."""

    name = models.CharField(max_length=50, primary_key=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.name} {self.at}"

"""How far rollouts are behind, for whoever watches them."""

from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from policies.models import RolloutWave


def oldest_due_wave_age() -> timedelta:
    """For how long the oldest wave that is due waits to be applied; nothing where none is."""
    age = ExpressionWrapper(Now() - F("due_at"), output_field=DurationField())
    oldest = RolloutWave.objects.due().annotate(age=age).values_list("age", flat=True).first()
    return oldest or timedelta(0)

from celery import shared_task

from policies import services
from policies.models import RolloutWave

# More than a sweep's worth: 2,000 units changed in one go make 26,000 waves within the window.
SWEEP_LIMIT = 1_000


@shared_task
def sweep_waves() -> None:
    """Enqueue what is due; beat runs this every few seconds."""
    for wave_id in RolloutWave.objects.due().values_list("pk", flat=True)[:SWEEP_LIMIT]:
        apply_wave.delay(wave_id)


@shared_task
def apply_wave(wave_id: int) -> None:
    services.apply_wave(wave_id)

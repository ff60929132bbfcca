from celery import shared_task

from accounts.services.sweeps import claim_sweep
from policies import services
from policies.models import PolicyChange, RolloutWave

# More than a sweep's worth: 2,000 units changed in one go make 26,000 waves within the window.
SWEEP_LIMIT = 1_000


@shared_task
def sweep_waves() -> None:
    """Enqueue what is due; beat asks for this every few seconds."""
    if not claim_sweep("policies.tasks.sweep_waves"):
        return
    units = PolicyChange.objects.due().order_by("unit_id").values_list("unit_id", flat=True)
    for unit_id in units.distinct()[:SWEEP_LIMIT]:
        start_due_changes.delay(unit_id)
    due = list(RolloutWave.objects.due().values_list("pk", flat=True)[:SWEEP_LIMIT])
    if due:
        apply_waves.delay(due)
    services.return_express_guests()


@shared_task
def start_due_changes(unit_id: int) -> None:
    services.start_due_changes(unit_id)


@shared_task
def apply_waves(wave_ids: list[int]) -> None:
    services.apply_waves(wave_ids)

"""How long the delivery log is kept: recipients for a short time, deliveries for a long one."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models.functions import Now

from delivery.models import Delivery, DeliveryRecipient, LimitReport

BATCH = 1_000  # rows in one transaction: nobody waits for its locks
RUN_SECONDS = 60.0  # what is left then has to wait for the next run


def delete_old_rows() -> None:
    """Delete batch by batch what is older than the settings say, for a minute at most."""
    ends = time.monotonic() + RUN_SECONDS
    log_kept = timedelta(days=settings.OUTGATE_DELIVERY_LOG_DAYS)
    recipients_kept = timedelta(days=settings.OUTGATE_RECIPIENT_LOG_DAYS)
    _delete_batches(partial(_delete_recipients, recipients_kept), ends)
    _delete_batches(partial(_delete_deliveries, log_kept), ends)
    LimitReport.objects.filter(reached_at__lt=Now() - log_kept).delete()


def _delete_batches(delete_batch: Callable[[], int], ends: float) -> None:
    while delete_batch() and time.monotonic() < ends:
        continue


def _delete_recipients(kept: timedelta) -> int:
    """Look at the first rows only: ids rise with time, so the old ones are there.

    Recipients have no time of their own, and asking each delivery for its own would take long.
    """
    first = DeliveryRecipient.objects.order_by("pk").values("pk")[:BATCH]
    deleted, _by_model = DeliveryRecipient.objects.filter(
        pk__in=first, delivery__created_at__lt=Now() - kept
    ).delete()
    return deleted


def _delete_deliveries(kept: timedelta) -> int:
    old = Delivery.objects.filter(created_at__lt=Now() - kept).order_by("created_at")
    _deleted, by_model = Delivery.objects.filter(pk__in=old.values("pk")[:BATCH]).delete()
    return by_model.get(Delivery._meta.label, 0)

"""The Celery application: `celery -A config worker`, `celery -A config beat`.

Workers, beat and web processes load it (config/health.py). The submission service enqueues nothing,
and is spared its memory.
"""

import atexit
import os
from tempfile import TemporaryDirectory
from typing import Any

from celery import Celery
from celery.signals import import_modules
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


# In workers and beat alone. Connected before the application is: afterwards Django loads what
# imports prometheus_client, which looks the folder up at its import.
@import_modules.connect
def share_metrics(**_kwargs: Any) -> None:
    """Let the processes of a worker write what they count into files, which one of them reads."""
    if settings.OUTGATE_CELERY_HEALTH_PORT:
        folder = TemporaryDirectory(prefix="outgate-metrics-")
        atexit.register(folder.cleanup)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder.name


app = Celery("outgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

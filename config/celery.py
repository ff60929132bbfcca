"""The Celery application: `celery -A config worker`, `celery -A config beat`.

Workers, beat and web processes load it (config/health.py). The submission service enqueues nothing,
and is spared its memory.
"""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import after_task_publish, beat_init
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("outgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@beat_init.connect
def show_signs_of_life(**_kwargs: Any) -> None:
    """In beat alone, for other processes publish tasks too."""
    after_task_publish.connect(lambda **_kwargs: beat_file().touch(), weak=False)


def beat_file() -> Path:
    """Touched by beat whenever Redis has taken a task from it: every two seconds."""
    return settings.OUTGATE_DATA_DIR / "beat-alive"

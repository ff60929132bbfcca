"""The Celery application: `celery -A config worker`, `celery -A config beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import after_task_publish, beat_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("outgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@beat_init.connect
def show_signs_of_life(**_kwargs: Any) -> None:
    """In beat alone, for other processes publish tasks too."""
    from config.health import beat_file

    after_task_publish.connect(lambda **_kwargs: beat_file().touch(), weak=False)

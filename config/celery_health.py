"""What monitoring hears of workers and of beat; Celery imports it in both (CELERY_IMPORTS)."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from celery.bootsteps import StartStopStep
from celery.signals import after_task_publish, beat_init, task_postrun
from celery.worker.components import Pool, Timer
from django.conf import settings
from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import mark_process_dead

from config.celery import app
from config.health import broker_answers, find_troubles
from delivery.monitoring import HealthServer

TICK_SECONDS = 1.0

TASKS = Counter("outgate_tasks", "Tasks that were run", ["task", "outcome"])


class CeleryHealth:
    """Of a process that gives a `sign` every second or two, unless it waits for Redis."""

    def __init__(self, processes: Callable[[], Iterable[int]] | None = None) -> None:
        """`processes` are the numbers of those that do the work, if others do."""
        self.draining = False
        self._processes = processes
        self.sign()

    def sign(self, *_args: Any, **_kwargs: Any) -> None:
        self._seen = time.monotonic()

    def find_faults(self) -> list[str]:
        if self.draining:
            return []
        faults = []
        if self._stands_still():
            faults.append(f"Nothing has moved here for {self._silence():.0f} seconds.")
        if self._processes and not any(map(_is_alive, self._processes())):
            faults.append("None of the processes that do the work is alive.")
        return faults

    def find_troubles(self) -> list[str]:
        return ["It is about to end."] * self.draining + find_troubles()

    def figures(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "outgate_celery_silent_seconds", "Since the last sign of life", self._silence()
        )

    def _silence(self) -> float:
        return time.monotonic() - self._seen

    def _stands_still(self) -> bool:
        if self._silence() < settings.OUTGATE_CELERY_SILENT_SECONDS:
            return False
        if broker_answers():
            return True
        # It waits for Redis, as long as that takes, and up to half a minute more.
        self.sign()
        return False


class WorkerHealth(StartStopStep):
    """A part of the worker's main process, in which the loop runs that takes tasks."""

    requires = (Timer, Pool)

    def include_if(self, _worker: Any) -> bool:
        return bool(settings.OUTGATE_CELERY_HEALTH_PORT)

    def start(self, worker: Any) -> None:
        def processes() -> list[int]:
            return list(worker.pool.info["processes"])

        def tick() -> None:
            health.sign()
            _forget_others({os.getpid(), *processes()})

        self._health = health = CeleryHealth(processes)
        # The loop calls it, so one that hangs gives no sign.
        worker.timer.call_repeatedly(TICK_SECONDS, tick)
        _serve(health)

    def stop(self, _worker: Any) -> None:
        self._health.draining = True


app.steps["worker"].add(WorkerHealth)


@beat_init.connect
def watch_beat(**_kwargs: Any) -> None:
    if settings.OUTGATE_CELERY_HEALTH_PORT:
        health = CeleryHealth()
        # Redis has taken a task from it: every two seconds.
        after_task_publish.connect(health.sign, weak=False)
        _serve(health)


@task_postrun.connect
def count_task(task: Any, state: str | None = None, **_kwargs: Any) -> None:
    TASKS.labels(task.name, (state or "unknown").lower()).inc()


def _serve(health: CeleryHealth) -> None:
    host, port = settings.OUTGATE_CELERY_HEALTH_HOST, settings.OUTGATE_CELERY_HEALTH_PORT
    try:
        HealthServer(host, port, health)
    except OSError as error:
        # Nothing else would end beat, which only logs what a receiver of its signals raises.
        raise SystemExit(f"Monitoring can't be answered at {host}:{port}: {error}") from None


def _forget_others(living: set[int]) -> None:
    """What ended processes have counted stays; what they were doing is over."""
    for gauge in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*.db"):
        number = int(gauge.stem.rpartition("_")[2])
        if number not in living:
            mark_process_dead(number)  # type: ignore[no-untyped-call]  # has no types


def _is_alive(process: int) -> bool:
    """A zombie, whom nobody has asked for, is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False

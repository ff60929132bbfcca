"""What monitoring hears of the service."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import Error as DatabaseError
from prometheus_client.core import GaugeMetricFamily

from delivery.database import Database, ask_whether_it_answers
from delivery.lag import outbox_depth
from delivery.monitoring import ANSWER_SECONDS
from policies.lag import oldest_due_wave_age
from submission.certificate import Certificate

logger = logging.getLogger(__name__)

T = TypeVar("T")


class SubmissionHealth:
    """It asks the event loop, so that one that hangs is not well."""

    def __init__(self, database: Database, certificate: Certificate) -> None:
        self.draining = False
        self._database = database
        self._certificate = certificate
        self._loop = asyncio.get_running_loop()

    def find_faults(self) -> list[str]:
        return self._find(_nothing)

    def find_troubles(self) -> list[str]:
        return self._find(self._ask_for_troubles)

    def figures(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "outgate_certificate_expiry_timestamp_seconds",
            "When the certificate that is shown ends",
            self._certificate.expires.timestamp(),
        )
        try:
            age = self._ask(lambda: self._database(oldest_due_wave_age))
            depth = self._ask(lambda: self._database(outbox_depth))
        except (DatabaseError, TimeoutError) as error:
            logger.warning("rollouts and outbox can't be asked for: %s", type(error).__name__)
            return
        yield GaugeMetricFamily(
            "outgate_rollout_oldest_due_wave_seconds",
            "For how long the oldest wave that is due waits to be applied",
            age.total_seconds(),
        )
        messages = GaugeMetricFamily(
            "outgate_outbox_messages", "Messages in the outbox", labels=["state"]
        )
        oldest = GaugeMetricFamily(
            "outgate_outbox_oldest_message_seconds",
            "For how long the oldest message of a state is in the outbox",
            labels=["state"],
        )
        for state, waiting in depth.items():
            messages.add_metric([state], waiting.messages)
            oldest.add_metric([state], waiting.oldest_seconds)
        yield from (messages, oldest)

    def _find(self, question: Callable[[], Coroutine[Any, Any, list[str]]]) -> list[str]:
        try:
            return self._ask(question)
        except TimeoutError:
            return ["The service does not answer."]

    def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """From another thread: the loop's answer. Raises TimeoutError."""
        asked = asyncio.run_coroutine_threadsafe(question(), self._loop)
        try:
            return asked.result(ANSWER_SECONDS)
        finally:
            asked.cancel()

    async def _ask_for_troubles(self) -> list[str]:
        troubles = []
        if self.draining:
            troubles.append("The service is about to end.")
        if self._certificate.expires < datetime.now(UTC):
            troubles.append("The certificate has expired.")
        try:
            await self._database(ask_whether_it_answers)
        except (DatabaseError, TimeoutError):
            troubles.append("PostgreSQL does not answer.")
        return troubles


async def _nothing() -> list[str]:
    return []

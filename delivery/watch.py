"""Tells whether what decisions are made of has changed, within a second of the commit.

Triggers add a row to `delivery_rulechange` for each change (migration 0002), so the sum over the
committed rows is a version: a sequence would not do, for a lower number can be committed later.
"""

import asyncio
import logging
import math
import time

from delivery.link import AwayError, Link

logger = logging.getLogger(__name__)

CHANNEL = "outgate_rules"
POLL_SECONDS = 0.5
ANSWER_SECONDS = 1.0  # what was true so long ago is not trusted any more

MANY = 1_000
# The highest number besides, for emptied tables begin to count anew.
VERSION = "SELECT coalesce(sum(amount), 0), coalesce(max(id), 0), count(*) FROM delivery_rulechange"
# Leaves the sum as it is, for whoever looks and whoever does the same at that moment.
COMPACT = """
WITH gone AS (DELETE FROM delivery_rulechange RETURNING amount)
INSERT INTO delivery_rulechange (amount) SELECT sum(amount) FROM gone HAVING count(*) > 0
"""


class RuleWatch:
    """One connection that polls; NOTIFY only makes it look sooner.

    `generation` is new with each change that was seen; it means something while `is_trusted`.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._link = Link(seconds=ANSWER_SECONDS, channel=CHANNEL)
        self._version: tuple[int, int] | None = None
        self._asked_at = -math.inf  # when the last question was asked that was answered
        self._doubted_at = -math.inf
        self._wanted = asyncio.Event()
        self._polled = asyncio.Event()

    @property
    def is_trusted(self) -> bool:
        asked_at = self._asked_at
        return asked_at > self._doubted_at and time.monotonic() - asked_at <= ANSWER_SECONDS

    def doubt(self) -> None:
        """Trust nothing that was asked before now."""
        self._doubted_at = time.monotonic()

    async def confirm(self) -> int:
        """The generation that holds now. Raises AwayError where nobody can tell."""
        # Twice, for a poll that is under way may be about to fail on a connection that was cut.
        for _attempt in range(2):
            if self.is_trusted:
                break
            self._polled.clear()
            self._wanted.set()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._polled.wait()
            except TimeoutError:
                break
        if not self.is_trusted:
            raise AwayError("the version of the rules is not known")
        return self.generation

    async def run(self) -> None:
        """Poll until cancelled."""
        # What is said during a poll counts too: its answer may be older.
        stop = self._link.call_when_spoken_to(self._wanted.set)
        try:
            while True:
                await self._poll()
                self._polled.set()
                await self._pause()
        finally:
            stop()
            await self._link.close()

    async def _poll(self) -> None:
        asked_at = time.monotonic()
        try:
            [(total, newest, rows)] = await self._link.fetch(VERSION)
            if rows > MANY:
                await self._link.fetch(COMPACT)
        except AwayError:
            self._asked_at = -math.inf
            return
        self._asked_at = asked_at
        if self._version != (total, newest):
            self._version = (total, newest)
            self.generation += 1
            logger.debug("rules are at %d/%d", total, newest)

    async def _pause(self) -> None:
        """Until something was said, somebody has to know, or it is time."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wanted.wait()
        except TimeoutError:
            return
        finally:
            self._wanted.clear()

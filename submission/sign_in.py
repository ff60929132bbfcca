"""Signing in with an app password, remembered while nothing it depends on has changed."""

import time
from typing import NamedTuple

from accounts.models import AppPassword
from accounts.models.app_passwords import digest_secret
from accounts.services.app_passwords import LAST_USED_RESOLUTION, authenticate_app_password
from delivery.database import Database
from delivery.watch import RuleWatch

REMEMBERED = 10_000


class _SignedIn(NamedTuple):
    app_password: AppPassword
    generation: int
    at: float


class SignIns:
    """Sign-ins that were right. Wrong ones are asked for each time."""

    def __init__(self, watch: RuleWatch, database: Database) -> None:
        self._watch = watch
        self._database = database
        self._known: dict[tuple[str, bytes], _SignedIn] = {}

    async def check(self, username: str, secret: str) -> AppPassword | None:
        """As authenticate_app_password. Raises django.db.Error, TimeoutError."""
        key = username, digest_secret(secret)
        if (known := self._known.get(key)) and self._holds(known):
            return known.app_password
        # What is read from here on may be newer than the generation, never older.
        generation = self._watch.generation
        found = await self._database(authenticate_app_password, username, secret)
        self._known.pop(key, None)
        if found:
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = _SignedIn(found, generation, time.monotonic())
        return found

    def _holds(self, known: _SignedIn) -> bool:
        # Later the database has to note once more that the app password is in use.
        is_recent = time.monotonic() - known.at < LAST_USED_RESOLUTION.total_seconds()
        return is_recent and self._watch.is_trusted and known.generation == self._watch.generation

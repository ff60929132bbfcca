"""Signing in with an app password, remembered while nothing it depends on has changed."""

import time
from typing import NamedTuple

from accounts.models import AppPassword
from accounts.models.app_passwords import digest_secret
from accounts.services.app_passwords import LAST_USED_RESOLUTION
from accounts.services.sign_ins import UNTROUBLED, SignIn, is_exempt, sign_in, untroubled_by
from delivery.database import Database
from delivery.link import Link
from delivery.watch import RuleWatch

REMEMBERED = 10_000


class _SignedIn(NamedTuple):
    app_password: AppPassword
    generation: int
    at: float


class SignIns:
    """Sign-ins that were right. Wrong ones are asked for each time."""

    def __init__(self, watch: RuleWatch, link: Link, database: Database) -> None:
        self._watch = watch
        self._link = link
        self._database = database
        self._known: dict[tuple[str, bytes], _SignedIn] = {}

    async def check(self, username: str, secret: str, *, peer: str) -> SignIn:
        """As accounts.services.sign_ins.sign_in. Raises django.db.Error, TimeoutError,
        AwayError.

        Failures are looked up each time: a right password must not tell itself from wrong ones
        while a network is blocked.
        """
        key = username, digest_secret(secret)
        known = self._known.get(key)
        if known and not self._holds(known):
            del self._known[key]
            known = None
        if known and await self._is_untroubled(username, peer):
            return SignIn(known.app_password)
        # What is read from here on may be newer than the generation, never older.
        generation = self._watch.generation
        answer = await self._database(
            sign_in,
            username=username,
            secret=secret,
            peer=peer,
            known=known.app_password if known else None,
        )
        if answer.app_password and not known:
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = _SignedIn(answer.app_password, generation, time.monotonic())
        return answer

    async def _is_untroubled(self, username: str, peer: str) -> bool:
        """Without a thread, for a program that connects anew for each message."""
        return is_exempt(peer) or bool(
            await self._link.fetch(UNTROUBLED, untroubled_by(username, peer))
        )

    def _holds(self, known: _SignedIn) -> bool:
        # Later the database has to note once more that the app password is in use.
        is_recent = time.monotonic() - known.at < LAST_USED_RESOLUTION.total_seconds()
        return is_recent and self._watch.is_trusted and known.generation == self._watch.generation

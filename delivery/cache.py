"""Decisions for open sessions, out of memory while nothing they are made of has changed."""

import asyncio
from typing import NamedTuple

from delivery.limits import Allowance, allowance_of
from delivery.link import Link
from delivery.routing import AccountSnapshot, Refusal, Route, decide
from delivery.snapshot import Snapshot, load_snapshot
from delivery.watch import RuleWatch

ACCOUNTS = 10_000


class AppPasswordRevokedError(Exception):
    """The app password that a session signed in with was revoked meanwhile."""


class Decided(NamedTuple):
    """An answer, the generation of the rules that it was made by, and the account's limits."""

    account: AccountSnapshot
    answer: Route | Refusal
    generation: int
    allowance: Allowance


class _Known:
    """An account as of one generation, and the routes that were asked for since."""

    __slots__ = ("_routes", "_snapshot", "generation")

    def __init__(self, snapshot: Snapshot, generation: int) -> None:
        self.generation = generation
        self._snapshot = snapshot
        self._routes: dict[str, Decided] = {}

    def decide(self, from_address: str) -> Decided:
        if known := self._routes.get(from_address):
            return known
        account, settings = self._snapshot
        answer = decide(account, from_address, settings)
        decided = Decided(account, answer, self.generation, allowance_of(settings.guardrails))
        # Only addresses that it owns have a route, so nobody can fill this with others.
        if isinstance(decided.answer, Route):
            self._routes[from_address] = decided
        return decided


class AccountCache:
    """Asks the decision for the account behind an app password; one load a generation."""

    def __init__(self, watch: RuleWatch, link: Link, *, accounts: int = ACCOUNTS) -> None:
        self._watch = watch
        self._link = link
        self._size = accounts
        self._known: dict[int, _Known] = {}
        self._loading: dict[tuple[int, int], asyncio.Task[_Known]] = {}

    async def decide(self, app_password_id: int, from_address: str) -> Decided:
        """Raises AppPasswordRevokedError, and AwayError where it can't be known."""
        generation = await self._watch.confirm()
        known = self._known.get(app_password_id)
        if known is None or known.generation != generation:
            known = await self._load(app_password_id, generation)
        return known.decide(from_address)

    def holds(self, generation: int) -> bool:
        """Whether nothing has changed since; False where that is not known either."""
        return self._watch.is_trusted and generation == self._watch.generation

    def doubt(self) -> None:
        """Something was changed here just now: the next decision has to know of it."""
        self._watch.doubt()

    async def _load(self, app_password_id: int, generation: int) -> _Known:
        """Once for all who ask at a time, and whatever becomes of the one who asked first."""
        key = app_password_id, generation
        if key not in self._loading:
            self._loading[key] = asyncio.create_task(self._fetch(app_password_id, generation))
            self._loading[key].add_done_callback(lambda _: self._loading.pop(key))
        return await asyncio.shield(self._loading[key])

    async def _fetch(self, app_password_id: int, generation: int) -> _Known:
        # What is read may be newer than the generation, never older.
        snapshot = await load_snapshot(self._link, app_password_id)
        self._known.pop(app_password_id, None)
        if snapshot is None:
            raise AppPasswordRevokedError
        if len(self._known) >= self._size:
            del self._known[next(iter(self._known))]  # the one loaded longest ago
        known = self._known[app_password_id] = _Known(snapshot, generation)
        return known

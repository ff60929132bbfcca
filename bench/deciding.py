"""How long the route decision takes as mail asks it, as a process with Outgate's settings.

Output: one line with microseconds: `cached`, and `uncached`, an account's statement included.
"""

import asyncio
import json
import statistics
import time

import django

django.setup()  # before the imports below: they need models (hence E402)

import uvloop  # noqa: E402

from accounts.models import AppPassword  # noqa: E402
from delivery.cache import AccountCache  # noqa: E402
from delivery.link import Link  # noqa: E402
from delivery.routing import Route, RouteKind  # noqa: E402
from delivery.watch import RuleWatch  # noqa: E402
from sendas.models import SendAs  # noqa: E402

CACHED = 100_000  # decisions
LOADS = 20  # of each account

Question = tuple[int, str]  # whose app password, and From


def questions() -> list[Question]:
    """Each account, with an address that has a gateway."""
    addresses = dict(SendAs.objects.values_list("user_id", "send_as_email"))
    passwords = AppPassword.objects.values_list("pk", "user_id")
    return [(number, addresses[user]) for number, user in passwords]


async def measure(asked: list[Question]) -> dict[str, float]:
    watch, link = RuleWatch(), Link()
    watching = asyncio.create_task(watch.run())
    cache = AccountCache(watch, link)
    await load(cache, asked)  # opens the connection and prepares the statement
    uncached: list[float] = []
    for _ in range(LOADS):
        uncached += await load(AccountCache(watch, link), asked)
    number, address = asked[0]
    started = time.perf_counter()
    for _ in range(CACHED):
        await cache.decide(number, address)
    cached = (time.perf_counter() - started) / CACHED
    watching.cancel()
    await asyncio.wait([watching])
    await link.close()
    return {"cached": 1e6 * cached, "uncached": 1e6 * statistics.median(uncached)}


async def load(cache: AccountCache, asked: list[Question]) -> list[float]:
    """Seconds of each decision about accounts that `cache` does not know yet."""
    times = []
    for number, address in asked:
        started = time.perf_counter()
        decided = await cache.decide(number, address)
        times.append(time.perf_counter() - started)
        if not (isinstance(decided.answer, Route) and decided.answer.kind == RouteKind.GATEWAY):
            raise RuntimeError(f"{address} does not go by its gateway")
    return times


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(questions()))))

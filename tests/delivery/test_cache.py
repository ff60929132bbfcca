"""Decisions out of memory: how often they are loaded, and when they end."""

import asyncio
from collections.abc import Sequence

import pytest

from accounts.services.app_passwords import create_app_password
from accounts.services.audit import SYSTEM
from delivery.cache import AccountCache, AppPasswordRevokedError
from delivery.link import Link
from delivery.routing import Refusal, Route
from tests.delivery.test_watch import watched

pytestmark = pytest.mark.django_db(transaction=True)


class CountingLink(Link):
    """Counts what is asked."""

    count = 0

    async def fetch(self, query: str, parameters: Sequence[object] = ()):
        self.count += 1
        return await super().fetch(query, parameters)


@pytest.fixture
def number(owner) -> int:
    return create_app_password(actor=SYSTEM, user=owner, name="Laptop")[0].pk


def test_an_account_is_loaded_once_for_all_who_ask_and_again_after_a_change(owner, number):
    async def dialogue() -> None:
        link = CountingLink()
        async with watched() as watch:
            cache = AccountCache(watch, link)
            asked = [cache.decide(number, owner.primary_address) for _ in range(20)]
            first, *_others = await asyncio.gather(*asked)
            assert isinstance(first.answer, Route)
            assert cache.holds(first.generation)
            refused = await cache.decide(number, "nobody@elsewhere.example")
            assert isinstance(refused.answer, Refusal)
            assert link.count == 1
            await link.fetch("UPDATE accounts_user SET suspended = true")
            watch.doubt()
            second = await cache.decide(number, owner.primary_address)
            assert isinstance(second.answer, Refusal)
            assert not cache.holds(first.generation)
            assert link.count == 3
        await link.close()

    asyncio.run(dialogue())


def test_a_revoked_app_password_is_told_to_everybody_who_waits(owner, number):
    async def dialogue() -> None:
        link = Link()
        await link.fetch("UPDATE accounts_apppassword SET revoked_at = now()")
        async with watched() as watch:
            cache = AccountCache(watch, link)
            asked = [cache.decide(number, owner.primary_address) for _ in range(3)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(each) for each in answers} == {AppPasswordRevokedError}
        await link.close()

    asyncio.run(dialogue())


def test_no_more_accounts_are_remembered_than_there_is_room_for(owner):
    numbers = [
        create_app_password(actor=SYSTEM, user=owner, name=str(each))[0].pk for each in range(5)
    ]

    async def dialogue() -> None:
        link = CountingLink()
        async with watched() as watch:
            cache = AccountCache(watch, link, accounts=3)
            for each in [*numbers, numbers[-1], numbers[0]]:
                await cache.decide(each, owner.primary_address)
            assert link.count == 6
        await link.close()

    asyncio.run(dialogue())


def test_who_asked_first_and_left_takes_nothing_from_the_others(owner, number):
    async def dialogue() -> None:
        link = CountingLink()
        async with watched() as watch:
            await watch.confirm()
            cache = AccountCache(watch, link)
            first = asyncio.create_task(cache.decide(number, owner.primary_address))
            await asyncio.sleep(0)
            second = asyncio.create_task(cache.decide(number, owner.primary_address))
            await asyncio.sleep(0)
            first.cancel()
            assert isinstance((await second).answer, Route)
            assert link.count == 1
        await link.close()

    asyncio.run(dialogue())

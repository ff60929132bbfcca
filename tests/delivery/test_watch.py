"""Whether a change is seen: by its trigger, by NOTIFY, by the poll alone, and not at all."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from django.db import connection

from accounts.models import OrgUnit, User
from accounts.services.app_passwords import authenticate_app_password, create_app_password
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain
from accounts.services.people import add_alias, move_user, suspend_user
from delivery import watch as watching
from delivery.link import AwayError, Link
from delivery.watch import RuleWatch
from policies.models import AppliedPolicy, Setting
from sendas.models import SendAs, SmtpMsa
from tests.away import database_away

pytestmark = pytest.mark.django_db(transaction=True)


def version() -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(watching.VERSION)
        total, newest, _rows = cursor.fetchone()
    return total, newest


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[RuleWatch]:
    watch = RuleWatch()
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


async def seconds_until(condition: Callable[[], bool]) -> float:
    started = time.monotonic()
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.005)
    return time.monotonic() - started


def gateway(user: User) -> SmtpMsa:
    send_as = SendAs.objects.create(user=user, send_as_email="user.name@partner.example")
    return SmtpMsa.objects.create(
        send_as=send_as, host="smtp.partner.example", port=587, security_mode="starttls",
        username="x", key_id="test", ciphertext=b"",
    )  # fmt: skip


def a_wave(user: User) -> None:
    AppliedPolicy.objects.create(
        cohort=user.cohort, unit=user.unit, setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": True}, version=1,
    )  # fmt: skip


CHANGES: dict[str, Callable[[User], object]] = {
    "app password": lambda user: user.app_passwords.update(revoked_at="2026-01-01T00:00Z"),
    "suspended": lambda user: suspend_user(actor=SYSTEM, user=user),
    "moved": lambda user: move_user(
        actor=SYSTEM, user=user, unit=OrgUnit.objects.get(name="Support")
    ),
    "alias": lambda user: add_alias(actor=SYSTEM, user=user, address="me@yourdomain.com"),
    "domain": lambda user: create_domain(actor=SYSTEM, name="partner.example"),
    "unit": lambda user: OrgUnit.objects.filter(pk=user.unit_id).update(name="Partners"),
    "wave": a_wave,
    "address": lambda user: SendAs.objects.create(user=user, send_as_email="a@partner.example"),
    "verified": lambda user: SendAs.objects.update(verification_status="accepted"),
    "address suspended": lambda user: SendAs.objects.update(suspended_at=None),
    "gateway": gateway,
    "password wiped": lambda user: SmtpMsa.objects.update(wiped_at=None),
    "password refused": lambda user: SmtpMsa.objects.update(refused_at="2026-01-01T00:00Z"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_may_change_a_decision_changes_the_version(owner, change):
    before = version()
    change(owner)
    assert version()[0] > before[0]


def test_what_decides_nothing_leaves_every_cache_as_it_is(owner):
    msa = gateway(owner)
    _row, secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    before = version()
    assert authenticate_app_password(owner.primary_address, secret)
    User.objects.update(last_login="2026-01-01T00:00Z")
    SmtpMsa.objects.filter(pk=msa.pk).update(signed_in_at="2026-01-01T00:00Z")
    SendAs.objects.update(display_name="Somebody", asked_at=None, proof_due_at=None)
    create_app_password(actor=SYSTEM, user=owner, name="Telephone")
    assert version() == before


def test_notify_makes_a_change_known_at_once_and_the_poll_when_it_is_lost():
    async def dialogue() -> None:
        link = Link()
        async with watched() as watch:
            await watch.confirm()
            seen = watch.generation
            await link.fetch("DELETE FROM accounts_alias")
            assert await seconds_until(lambda: watch.generation > seen) < 1
            seen = watch.generation
            # What a trigger writes, without its NOTIFY.
            await link.fetch("INSERT INTO delivery_rulechange DEFAULT VALUES")
            assert await seconds_until(lambda: watch.generation > seen) < 1
        await link.close()

    asyncio.run(dialogue())


def test_a_change_with_a_lower_number_that_commits_later_is_seen(settings):
    parameters = connection.get_connection_params()
    own = {name: parameters[name] for name in ("dbname", "user", "host") if name in parameters}
    before = version()
    with psycopg.connect(**own) as slow:
        slow.execute("DELETE FROM accounts_alias")
        with psycopg.connect(**own) as quick:
            quick.execute("DELETE FROM accounts_alias")
        between = version()
    after = version()
    assert before[0] < between[0] < after[0]
    assert between[1] == after[1]


def test_summing_up_keeps_the_sum_whoever_does_it_at_the_same_time():
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO delivery_rulechange (amount) SELECT 1 FROM generate_series(1,500)"
        )
    before = version()[0]

    def compact() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(watching.COMPACT)
        finally:
            connection.close()

    threads = [threading.Thread(target=compact) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert version()[0] == before


def test_many_changes_are_summed_up():
    async def dialogue() -> None:
        link = Link()
        await link.fetch(
            "INSERT INTO delivery_rulechange (amount) SELECT 1 FROM generate_series(1, $1)",
            (watching.MANY + 1,),
        )
        async with watched() as watch:
            await watch.confirm()
        [(total, _newest, rows)] = await link.fetch(watching.VERSION)
        assert total > watching.MANY
        assert rows <= 2
        await link.close()

    asyncio.run(dialogue())


def test_with_the_database_away_nothing_is_trusted_and_afterwards_it_is(services):
    away = database_away(services)

    async def dialogue() -> None:
        async with watched() as watch:
            await watch.confirm()
            with away:
                assert await seconds_until(lambda: not watch.is_trusted) < 1.5
                with pytest.raises(AwayError):
                    await watch.confirm()
            await watch.confirm()
            assert watch.is_trusted

    asyncio.run(dialogue())


def test_after_a_doubt_the_next_answer_is_newer():
    async def dialogue() -> None:
        async with watched() as watch:
            await watch.confirm()
            watch.doubt()
            assert not watch.is_trusted
            await watch.confirm()
            assert watch.is_trusted

    asyncio.run(dialogue())

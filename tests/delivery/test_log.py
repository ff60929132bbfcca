"""Group commit: one commit for all who wait, and whose row it was that failed."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from django.db import connection

from delivery.link import PLANS, AwayError, Link
from delivery.log import STATEMENT, DeliveryLog, Message
from delivery.models import Delivery, DeliveryRecipient
from delivery.routing import AccountSnapshot, AppliedSettings, Route, decide
from smtp.reply import Reply
from smtp.target import Security, Server
from tests.away import database_away

pytestmark = pytest.mark.django_db(transaction=True)

PRIMARY = "user@yourdomain.com"
ANSWER = decide(
    AccountSnapshot(PRIMARY),
    PRIMARY,
    AppliedSettings(False, "", 0, Server("relay", 25, Security.NONE)),
)
TAKEN = Reply(250, "2.0.0", "Taken")


def message(user_id: uuid.UUID, number: int = 0) -> Message:
    recipients = ["claire@customer.example", "dan@customer.example"]
    return Message(str(uuid.uuid4()), user_id, PRIMARY, PRIMARY, f"<{number}@x>", recipients, 1000)


def hand_over(log: DeliveryLog, each: Message, route: Route = ANSWER):
    return log.hand_over(each, route, envelope_sender=PRIMARY, tls_version="TLSv1.3")


def test_all_that_wait_are_one_commit_and_outcomes_follow(owner):
    async def dialogue() -> None:
        link = Link()
        log = DeliveryLog(link)
        records = [hand_over(log, message(owner.pk, number)) for number in range(40)]
        for record in records[:20]:  # before it is committed
            log.finish(record, state="delivered", reply=TAKEN, size=7, times={"dot": 1.5})
        assert await asyncio.gather(*(record.committed for record in records)) == [True] * 40
        for record in records[20:]:  # and after
            log.finish(record, state="delivered", reply=TAKEN, size=7, times={"dot": 1.5})
        await log.settle()
        await link.close()

    asyncio.run(dialogue())
    rows = Delivery.objects.all()
    assert rows.values("created_at").distinct().count() == 1
    assert (
        rows.filter(state="delivered", size=7, reply=str(TAKEN), times={"dot": 1.5}).count() == 40
    )
    assert DeliveryRecipient.objects.count() == 80
    row = Delivery.objects.get(message_id="<3@x>")
    assert row.explanation == ANSWER.explanation.as_json()
    assert row.account == owner
    assert (row.server, row.route, row.envelope_sender) == ("relay:25", "default", PRIMARY)
    assert [each.address for each in row.recipients.all()] == message(owner.pk).recipients


def test_several_links_lose_and_double_nothing(owner):
    async def dialogue() -> None:
        links = Link(), Link()
        log = DeliveryLog(*links)

        async def carry(number: int) -> None:
            record = hand_over(log, message(owner.pk, number))
            assert await record.committed
            log.finish(record, state="delivered", reply=TAKEN, size=number, times={})

        for start in range(0, 200, 5):
            await asyncio.gather(*(carry(start + number) for number in range(5)))
        await log.settle()
        for link in links:
            await link.close()

    asyncio.run(dialogue())
    rows = Delivery.objects.filter(state="delivered").values_list("message_id", "size")
    assert sorted(rows) == sorted((f"<{number}@x>", number) for number in range(200))


def test_a_row_that_postgresql_refuses_fails_alone(owner):
    nobody = uuid.uuid4()

    async def dialogue() -> None:
        link = Link()
        log = DeliveryLog(link)
        records = [
            hand_over(log, message(nobody if number == 4 else owner.pk, number))
            for number in range(9)
        ]
        committed = await asyncio.gather(*(record.committed for record in records))
        assert committed == [number != 4 for number in range(9)]
        assert await hand_over(log, message(owner.pk, 9)).committed
        log.finish(records[0], state="x" * 99, reply=TAKEN, size=7, times={})
        log.finish(records[1], state="delivered", reply=TAKEN, size=7, times={})
        await log.settle()
        await link.close()

    asyncio.run(dialogue())
    assert Delivery.objects.count() == 9
    assert Delivery.objects.get(state="delivered").message_id == "<1@x>"


def test_with_the_database_away_no_row_counts_and_outcomes_are_kept(owner, services):
    away = database_away(services)

    async def dialogue() -> None:
        link = Link()
        log = DeliveryLog(link)
        before = hand_over(log, message(owner.pk, 1))
        assert await before.committed
        with away:
            log.finish(before, state="delivered", reply=TAKEN, size=7, times={})
            during = [hand_over(log, message(owner.pk, number)) for number in (2, 3)]
            assert [await record.committed for record in during] == [False, False]
        assert await hand_over(log, message(owner.pk, 4)).committed
        await log.settle()
        await link.close()

    asyncio.run(dialogue())
    assert set(Delivery.objects.values_list("message_id", "state")) == {
        ("<1@x>", "delivered"), ("<4@x>", "handing_over")
    }  # fmt: skip


def test_the_end_does_not_wait_for_a_database_that_stays_away(owner, services):
    away = database_away(services)

    async def dialogue() -> None:
        link = Link()
        log = DeliveryLog(link)
        record = hand_over(log, message(owner.pk))
        assert await record.committed
        with away:
            log.finish(record, state="delivered", reply=TAKEN, size=7, times={})
            async with asyncio.timeout(5):
                await log.settle()

    asyncio.run(dialogue())


class LostAnswer(Link):
    """PostgreSQL commits, and the line breaks before it can say so."""

    async def fetch(self, query: str, parameters: Sequence[object] = ()):
        await super().fetch(query, parameters)
        await self.close()
        raise AwayError("lost")


def test_a_row_whose_commit_was_not_heard_does_not_count(owner):
    async def dialogue() -> None:
        log = DeliveryLog(LostAnswer())
        assert not await hand_over(log, message(owner.pk)).committed

    asyncio.run(dialogue())
    assert Delivery.objects.get().state == Delivery.State.HANDING_OVER


def test_a_refusal_is_kept_with_and_without_a_decision(owner):
    reply = Reply(554, "5.6.0", "The message has no From fields")

    async def dialogue() -> None:
        link = Link()
        log = DeliveryLog(link)
        log.refuse(message(owner.pk, 1), replace(ANSWER), reply)
        log.refuse(message(owner.pk, 2), None, reply)
        await log.settle()
        await link.close()

    asyncio.run(dialogue())
    rows = Delivery.objects.filter(state="refused", reply=str(reply), finished_at__isnull=False)
    assert {row.message_id: row.explanation.get("rule") for row in rows} == {
        "<1@x>": "primary", "<2@x>": None
    }  # fmt: skip


def nodes_of(plan: dict) -> Iterator[dict]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes_of(part)


def test_an_outcome_finds_its_row_by_key_with_the_plan_of_an_empty_log(owner):
    rows = [Delivery(id=uuid.uuid4(), account=owner, state="handing_over") for _ in range(300)]
    outcome = {"state": "delivered", "reply": "250", "size": 7, "times": {}}
    outcomes = {str(row.pk): outcome for row in rows[:3]}
    with contextlib.closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute(PLANS)
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE log (json, jsonb) AS {STATEMENT}")
        cursor.execute("EXECUTE log ('[]', '{}')")
        Delivery.objects.bulk_create(rows)
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE log ('[]', '{json.dumps(outcomes)}')"
        )
        plan = cursor.fetchone()[0][0]["Plan"]
    [by_key] = [node for node in nodes_of(plan) if "Index Name" in node]
    assert by_key["Index Name"] == "delivery_delivery_pkey"
    assert "Index Cond" in by_key
    assert by_key["Actual Rows"] == 3
    assert Delivery.objects.filter(state="delivered", reply="250", size=7).count() == 3

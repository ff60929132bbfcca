"""A password that is refused reaches the server once, however many want to send with it."""

import asyncio
import time
from threading import Event
from uuid import uuid4

import pytest
from django.core import mail
from django.db.models.functions import Now

from delivery.courier import Courier
from delivery.database import SECONDS
from delivery.models import OutboxMessage
from delivery.routing import decide
from delivery.services import load_account, load_settings
from delivery.sign_in import GatewaySignIns
from delivery.tasks import database
from sendas.models import OwnerNotice, SmtpMsa
from sendas.services.breaker import (
    CLAIM_SECONDS,
    claim_credential,
    record_refusal,
    renew_claim,
)
from sendas.tasks import mail_notice, sweep_notices
from smtp.failure import FailureKind, SmtpFailure, Step
from tests.delivery.outbox import put
from tests.delivery.test_outbox_gateway import keep_gateway
from tests.sendas.conftest import CANARY, PARTNER, make_send_as

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def send_as(owner, allowed):
    return make_send_as(owner)


def route_of(user):
    return decide(load_account(user), PARTNER, load_settings(user))


async def open_many(openers, route, number: int) -> list[object]:
    """What came of each attempt, `number` at once through each of these."""
    attempts = [each.open(route, route.credential_id) for each in openers for _ in range(number)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    for result in results:
        if not isinstance(result, BaseException):
            result.abort()
    await asyncio.sleep(0.05)  # TLS ends
    return results


def open_in_processes(user, *, number: int = 10) -> list[object]:
    """As three processes do it: none knows of the others but by PostgreSQL."""
    openers = [GatewaySignIns(database()) for _ in range(3)]
    return asyncio.run(open_many(openers, route_of(user), number))


def test_of_many_at_once_in_several_processes_one_tries_a_wrong_password(owner, send_as, partner):
    msa = keep_gateway(send_as, partner.port, "wrong")
    results = open_in_processes(owner)
    assert partner.tried == ["wrong"]
    assert {(type(each), each.kind, each.permanent) for each in results} == {
        (SmtpFailure, FailureKind.AUTH_REFUSED, True)
    }
    msa.refresh_from_db()
    assert msa.refused_at
    assert msa.claimed_until is None


def test_a_password_that_works_lets_all_in_and_is_noted_as_used(owner, send_as, partner):
    msa = keep_gateway(send_as, partner.port)
    results = open_in_processes(owner, number=4)
    assert partner.tried == [CANARY] * 12
    assert not [each for each in results if isinstance(each, BaseException)]
    msa.refresh_from_db()
    assert msa.signed_in_at
    assert msa.claimed_until is None


def test_a_passing_refusal_opens_nothing(owner, send_as, partner):
    partner.sign_in_reply = "454 4.7.0 Later"
    msa = keep_gateway(send_as, partner.port)
    [failure] = asyncio.run(open_many([GatewaySignIns(database())], route_of(owner), 1))
    assert not failure.permanent
    msa.refresh_from_db()
    assert (msa.refused_at, msa.claimed_until) == (None, None)
    assert not OwnerNotice.objects.exists()


def test_who_is_called_off_leaves_the_next_one_free(owner, send_as, partner):
    msa = keep_gateway(send_as, partner.port)

    async def call_off() -> None:
        route = route_of_owner
        sign_ins = GatewaySignIns(database())
        first = asyncio.create_task(sign_ins.open(route, route.credential_id))
        second = asyncio.create_task(sign_ins.open(route, route.credential_id))
        await asyncio.sleep(0)  # both have begun
        first.cancel()
        (await second).abort()
        assert first.cancelled()
        await asyncio.sleep(0.05)  # TLS ends

    route_of_owner = route_of(owner)
    asyncio.run(call_off())
    msa.refresh_from_db()
    assert msa.claimed_until is None


def test_while_another_process_tries_nobody_else_does(send_as, partner):
    msa = keep_gateway(send_as, partner.port)
    assert claim_credential(msa.credential_id)
    assert claim_credential(msa.credential_id) is None
    SmtpMsa.objects.update(claimed_until=Now())  # it died, and its time is over
    assert claim_credential(msa.credential_id)


class Halting:
    """Does not answer to the first renewal."""

    halts = True

    async def __call__(self, function, *args, **kwargs):
        if function is renew_claim and self.halts:
            self.halts = False
            await asyncio.sleep(SECONDS)
            raise TimeoutError
        return await database()(function, *args, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [database, Halting])
def test_an_attempt_that_takes_long_keeps_the_others_away(owner, send_as, relay, open_ports, kind):
    """Longer than a claim holds by itself, at a server that thinks about it."""
    open_ports(relay.port)
    msa = keep_gateway(send_as, relay.port)
    reached, let_go = Event(), Event()

    def think(step: str) -> None:
        if step == "greeting":
            reached.set()
            assert let_go.wait(CLAIM_SECONDS * 3)

    async def open_slowly() -> list[object]:
        opening = asyncio.create_task(open_many([GatewaySignIns(kind())], route, 1))
        while not reached.is_set():  # noqa: ASYNC110  (it is another thread's)
            await asyncio.sleep(0.05)
        try:
            deadline, claimed = time.monotonic() + CLAIM_SECONDS + 1, None
            while claimed is None and time.monotonic() < deadline:
                claimed = await database()(claim_credential, msa.credential_id)
                await asyncio.sleep(0.01)
        finally:
            let_go.set()
        return [claimed, *await opening]

    relay.at, route = think, route_of(owner)
    claimed, failure = asyncio.run(open_slowly())
    assert claimed is None
    assert isinstance(failure, SmtpFailure)
    msa.refresh_from_db()
    assert msa.claimed_until is None


def test_sessions_and_workers_together_try_once(owner, send_as, partner, relay):
    keep_gateway(send_as, partner.port, "wrong")
    for number in range(50):
        put(owner, from_address=PARTNER, subject=f"{number}")
    route = route_of(owner)

    async def together() -> None:
        couriers = [Courier(database()) for _ in range(2)]
        sessions = open_many([GatewaySignIns(database()) for _ in range(2)], route, 10)
        await asyncio.gather(sessions, *(each.run() for each in couriers))

    asyncio.run(together())
    assert partner.tried == ["wrong"]
    assert set(OutboxMessage.objects.values_list("state", flat=True)) == {"held"}
    assert relay.taken == []


def test_a_known_refusal_is_told_without_asking_the_server(owner, send_as, partner):
    msa = keep_gateway(send_as, partner.port)
    route = route_of(owner)
    assert record_refusal(credential_id=msa.credential_id, reply="535 5.7.8 no")
    [failure] = asyncio.run(open_many([GatewaySignIns(database())], route, 1))
    assert (failure.kind, failure.step) == (FailureKind.AUTH_REFUSED, Step.AUTH)
    assert partner.tried == []


def test_the_owner_hears_once_by_mail(owner, send_as, partner):
    msa = keep_gateway(send_as, partner.port, "wrong")
    open_in_processes(owner)
    assert not record_refusal(credential_id=msa.credential_id, reply="535 again")
    assert not record_refusal(credential_id=uuid4(), reply="535 about another one")
    [notice] = OwnerNotice.objects.all()
    mail_notice(notice.pk)
    sweep_notices()
    [sent] = mail.outbox
    assert sent.to == [owner.primary_address]
    assert sent.subject == f"localhost no longer accepts the password for {PARTNER}"
    assert f"/settings/#address-{send_as.pk}" in sent.body
    assert "535" in sent.body
    assert "wrong" not in sent.body.replace("too many wrong ones", "")


def test_of_what_is_mended_meanwhile_nobody_hears(owner, send_as, partner):
    msa = keep_gateway(send_as, partner.port)
    record_refusal(credential_id=msa.credential_id, reply="535 5.7.8 no")
    SmtpMsa.objects.update(refused_at=None)
    mail_notice(OwnerNotice.objects.get().pk)
    assert mail.outbox == []

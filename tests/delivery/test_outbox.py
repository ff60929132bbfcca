"""The outbox from the first chunk to the end: what is kept, what is sent, and what is left."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.models import AuditEvent
from accounts.owner import owner_role
from accounts.services.audit import SYSTEM, Actor
from accounts.services.people import suspend_user
from delivery.backoff import seconds_until_retry
from delivery.models import Delivery, OutboxChunk, OutboxMessage
from delivery.outbox import (
    AbandonedError,
    Draft,
    OutboxWriter,
    discard,
    read_chunk,
    retry_now,
    tidy_outbox,
)
from delivery.sealing import CHUNK_BYTES, ContentError
from tests.away import database_away
from tests.delivery.outbox import CANARY, RECIPIENT, content_for, deliver, put, state_of
from tests.processes import until

State = OutboxMessage.State
pytestmark = pytest.mark.django_db(transaction=True)


def only(message: OutboxMessage) -> OutboxMessage:
    return OutboxMessage.objects.get(pk=message.pk)


def make_due(message: OutboxMessage) -> None:
    OutboxMessage.objects.filter(pk=message.pk).update(next_attempt_at=Now())


def test_what_waits_is_sent_by_our_relay_and_its_content_forgotten(owner, relay):
    message = put(owner)
    deliver()
    [taken] = relay.taken
    assert (taken.sender, taken.recipients) == (owner.primary_address, [RECIPIENT])
    assert taken.content == content_for(owner.primary_address)
    assert only(message).state == State.SENT
    assert only(message).last_reply == "250 2.0.0 Taken as 4Xk2"
    assert not OutboxChunk.objects.exists()
    [delivery] = message.deliveries.all()
    assert delivery.state == Delivery.State.DELIVERED
    assert delivery.recipients.get().address == RECIPIENT
    deliver()
    assert len(relay.taken) == 1


@pytest.mark.parametrize("octets", [CHUNK_BYTES - 200, CHUNK_BYTES, 3 * CHUNK_BYTES, 1_000_000])
def test_content_of_any_size_arrives_byte_for_byte(owner, relay, octets):
    body = (b"..a line\r\n" * (octets // 10 + 1))[:octets] + b"\r\n"
    content = content_for(owner.primary_address, body=body)
    message = put(owner, content=content, piece=70_001)
    assert OutboxChunk.objects.count() == -(-len(content) // CHUNK_BYTES)
    assert only(message).size == len(content)
    deliver()
    assert relay.taken[0].content == content


def test_an_empty_envelope_sender_stays_empty(owner, relay):
    put(owner, null_sender=True)
    deliver()
    assert relay.taken[0].sender == ""


def test_many_messages_share_few_connections(owner, relay):
    messages = [put(owner, subject=f"number-{number}") for number in range(120)]
    deliver()
    assert len({taken.content for taken in relay.taken}) == len(relay.taken) == 120
    assert relay.reached["EHLO"] <= 20
    assert {state_of(message) for message in messages} == {State.SENT}


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize("answer", [b"451 4.3.0 Not now\r\n", b""])
def test_a_passing_trouble_is_tried_again_later(owner, relay, step, answer):
    relay.answers[step] = answer
    message = put(owner)
    deliver()
    assert only(message).state == State.WAITING
    assert timedelta(seconds=45) < only(message).next_attempt_at - message.created_at
    deliver()  # not due
    assert only(message).attempts == 1
    relay.answers.clear()
    make_due(message)
    deliver()
    assert only(message).state == State.SENT
    [first, second] = message.deliveries.order_by("created_at")
    lost = step == "dot" and not answer
    assert first.state == (Delivery.State.HANDING_OVER if lost else Delivery.State.REFUSED)
    assert second.state == Delivery.State.DELIVERED


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "dot"])
def test_a_permanent_refusal_ends_it(owner, relay, step):
    relay.answers[step] = b"550 5.7.1 Never\r\n"
    message = put(owner)
    deliver()
    assert only(message).state == State.FAILED
    assert "550 5.7.1 Never" in only(message).last_reply


def test_one_refused_recipient_refuses_the_message_and_is_named(owner, relay):
    relay.answers["RCPT"] = b"550 5.1.1 Nobody\r\n"
    message = put(owner, recipients=["a@customer.example", "b@customer.example"])
    deliver()
    assert "<a@customer.example> was refused" in only(message).last_reply
    assert relay.taken == []


def test_after_its_time_a_message_has_failed(owner, relay):
    relay.answers["greeting"] = b"451 4.3.0 Not now\r\n"
    message = put(owner)
    OutboxMessage.objects.update(expires_at=Now() + timedelta(seconds=1))
    deliver()
    assert only(message).state == State.WAITING
    assert only(message).next_attempt_at == only(message).expires_at
    OutboxMessage.objects.update(next_attempt_at=Now(), expires_at=Now())
    deliver()
    assert only(message).state == State.FAILED


def test_an_account_suspended_meanwhile_sends_nothing(owner, relay):
    message = put(owner)
    suspend_user(actor=SYSTEM, user=owner)
    deliver()
    assert only(message).state == State.FAILED
    assert "suspended" in only(message).last_reply
    assert {taken.recipients[0] for taken in relay.taken} <= {owner.primary_address}


def test_an_account_that_is_gone_sends_nothing(owner, relay):
    message = put(owner, null_sender=True)
    owner.delete()
    deliver()
    assert only(message).state == State.FAILED
    assert relay.taken == []


@pytest.mark.parametrize(
    "tampering",
    [
        lambda rows: rows.filter(number=1).update(number=7),
        lambda rows: rows.filter(number=2).delete(),
        lambda rows: rows.filter(number=1).update(is_last=True),
        lambda rows: rows.filter(number=1).update(ciphertext=rows.get(number=0).ciphertext),
        lambda rows: rows.filter(number=0).update(ciphertext=rows.get(number=1).ciphertext),
        lambda rows: rows.filter(number=0).update(key_id="another"),
    ],
)
def test_chunks_that_were_tampered_with_are_not_sent(owner, relay, tampering):
    message = put(
        owner, content=content_for(owner.primary_address, body=b"Text\r\n" * 100_000),
        null_sender=True,
    )  # fmt: skip
    tampering(message.chunks.all())
    deliver()
    assert relay.taken == []
    assert only(message).state == State.FAILED
    assert "can't be read" in only(message).last_reply


def test_a_chunk_of_another_message_is_not_taken_for_ones_own(owner, relay):
    mine, other = put(owner, subject="mine"), put(owner, subject="other")
    chunk = other.chunks.get()
    mine.chunks.update(ciphertext=chunk.ciphertext, key_id=chunk.key_id)
    with pytest.raises(ContentError):
        read_chunk(mine.pk, 0)
    assert read_chunk(other.pk, 0).is_last


def test_content_is_nowhere_in_clear(owner):
    put(owner, content=content_for(owner.primary_address, subject=CANARY, body=CANARY.encode()))
    OutboxMessage.objects.update(message_id="")  # the log may have that
    with connection.cursor() as cursor:
        cells = []
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            cells += [row[0] for row in cursor.fetchall()]
    assert any(owner.primary_address in cell for cell in cells)
    # Bytes are written in hexadecimal digits.
    assert not [cell for cell in cells if CANARY in cell or CANARY.encode().hex() in cell]


def test_what_is_not_committed_is_nobodys_promise(owner, relay):
    draft = Draft("smtp", owner.pk, owner.primary_address, owner.primary_address, [RECIPIENT], "")
    writer = OutboxWriter(draft)
    writer.add(content_for(owner.primary_address, body=b"x" * CHUNK_BYTES))
    writer.flush()
    message = OutboxMessage.objects.get()
    assert message.state == State.STORING
    deliver()
    tidy_outbox()
    assert relay.taken == []
    writer.abandon()
    assert not OutboxMessage.objects.exists()
    assert not OutboxChunk.objects.exists()


def test_what_nobody_goes_on_storing_is_tidied_away_and_can_no_longer_be_committed(owner):
    draft = Draft("smtp", owner.pk, owner.primary_address, owner.primary_address, [RECIPIENT], "")
    writer = OutboxWriter(draft)
    writer.add(b"x" * (CHUNK_BYTES + 1))
    writer.flush()
    OutboxMessage.objects.update(next_attempt_at=Now() - timedelta(hours=2))
    tidy_outbox()
    assert not OutboxMessage.objects.exists()
    with pytest.raises(AbandonedError):
        writer.commit()


def writer_of(owner, octets: int) -> OutboxWriter:
    draft = Draft("smtp", owner.pk, owner.primary_address, owner.primary_address, [RECIPIENT], "")
    writer = OutboxWriter(draft)
    writer.add(b"x" * octets)
    writer.flush()
    return writer


@pytest.mark.parametrize("octets", [10, CHUNK_BYTES + 1], ids=["one chunk", "two chunks"])
def test_what_is_given_up_while_its_commit_hangs_is_not_sent_afterwards(owner, octets):
    """Its mail program heard 451 after five seconds, and sends the message again.

    No thread is free then to abandon it.
    """
    writer = writer_of(owner, octets)
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE delivery_outboxchunk IN SHARE MODE")
            committing = threads.submit(apart, writer.commit)
            until(is_waiting_for_a_lock, 5)
            writer.give_up()
        assert isinstance(committing.exception(10), AbandonedError)
    assert not OutboxMessage.objects.filter(state=State.WAITING).exists()


@pytest.fixture
def slow_end(transactional_db) -> Iterator[None]:
    """Transactions that store a message wait at their very end for a lock on number 451."""
    wait = """
        CREATE FUNCTION wait_for_451() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(451); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER wait_for_451 AFTER INSERT ON delivery_outboxmessage
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_451()
    """
    with owner_role(), connection.cursor() as cursor:
        cursor.execute(wait)
    yield
    with owner_role(), connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION wait_for_451 CASCADE")


def test_what_is_abandoned_while_the_end_of_its_commit_hangs_is_not_sent_afterwards(
    owner, slow_end
):
    writer = writer_of(owner, 10)
    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(451)")
            committing = threads.submit(apart, writer.commit)
            until(is_waiting_for_a_lock, 5)
            abandoning = threads.submit(apart, writer.abandon)
            wait([abandoning], 0.5)
            assert not abandoning.done()
        committing.result(10)
        abandoning.result(10)
    assert not OutboxMessage.objects.exists()
    assert not OutboxChunk.objects.exists()


def test_what_was_abandoned_before_its_commit_began_can_no_longer_be_committed(owner):
    draft = Draft("smtp", owner.pk, owner.primary_address, owner.primary_address, [RECIPIENT], "")
    writer = OutboxWriter(draft)
    writer.add(b"x")
    writer.abandon()
    with pytest.raises(AbandonedError):
        writer.commit()
    assert not OutboxMessage.objects.exists()


def apart(work: Callable[[], None]) -> None:
    """On a connection of its thread's own."""
    try:
        work()
    finally:
        connection.close()


def is_waiting_for_a_lock() -> bool:
    """Whether another session of this database is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON database = pg_database.oid"
            " WHERE datname = current_database() AND NOT granted)"
        )
        return cursor.fetchone()[0]


def test_rows_of_messages_that_ended_long_ago_go_and_the_log_stays(owner, relay):
    old, recent = put(owner, subject="old"), put(owner, subject="recent")
    deliver()
    OutboxMessage.objects.filter(pk=old.pk).update(finished_at=F("finished_at") - timedelta(40))
    tidy_outbox()
    assert OutboxMessage.objects.get() == recent
    assert Delivery.objects.count() == 2


def test_a_waiting_message_is_discarded_with_its_content_and_that_is_audited(owner, support, relay):
    message = put(owner)
    assert discard(actor=Actor(support), message=message)
    assert only(message).state == State.DISCARDED
    assert not message.chunks.exists()
    assert not discard(actor=Actor(support), message=message)
    assert not retry_now(actor=Actor(support), message=message)
    deliver()
    assert relay.taken == []
    event = AuditEvent.objects.get(name="outbox_discarded")
    assert (event.actor_address, event.target) == (support.primary_address, owner.primary_address)


def test_retry_now_does_not_wait_for_the_time(owner, support, relay):
    message = put(owner)
    OutboxMessage.objects.update(next_attempt_at=Now() + timedelta(hours=1))
    deliver()
    assert relay.taken == []
    assert retry_now(actor=Actor(support), message=message)
    deliver()
    assert len(relay.taken) == 1
    assert AuditEvent.objects.filter(name="outbox_retried").count() == 1


def test_only_its_author_and_support_act_on_a_message(
    owner, stranger, users_admin, support, super_admin
):
    message = put(owner)
    for nobody in (stranger, users_admin):
        for act in (retry_now, discard):
            with pytest.raises(PermissionDenied):
                act(actor=Actor(nobody), message=message)
    assert only(message).state == State.WAITING
    assert not AuditEvent.objects.filter(name__startswith="outbox_").exists()
    for somebody in (owner, support, super_admin):
        assert retry_now(actor=Actor(somebody), message=message)


def test_what_an_account_left_behind_is_discarded_by_support_alone(owner, stranger, support):
    message = put(owner)
    owner.delete()
    message.refresh_from_db()
    with pytest.raises(PermissionDenied):
        discard(actor=Actor(stranger), message=message)
    assert discard(actor=Actor(support), message=message)


def test_the_pause_grows_to_an_hour_and_is_never_the_same_for_all():
    assert 48 <= seconds_until_retry(1) <= 72
    assert 2880 <= seconds_until_retry(5) <= 4320
    assert 2880 <= seconds_until_retry(500) <= 4320
    assert len({seconds_until_retry(9) for _ in range(9)}) > 1


def test_postgresql_away_behind_the_dot_the_answer_is_written_down_later(owner, relay, services):
    message = put(owner)

    def cut(step: str) -> None:
        if step == "dot":
            with database_away(services):
                time.sleep(2.5)  # in which the run asks for more messages, twice
            connection.close()  # this thread's own

    relay.at = cut
    deliver()
    connection.close()  # cut as well
    assert len(relay.taken) == 1
    assert only(message).state == State.SENT
    assert [row.state for row in message.deliveries.all()] == [Delivery.State.DELIVERED]

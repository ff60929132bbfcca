"""An outbox out of a backup: docs/operations.md has a statement that keeps all of it for a look."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from accounts.services.audit import SYSTEM
from delivery.models import OutboxMessage
from delivery.outbox import discard, release_mended, retry_now
from tests.delivery.outbox import deliver, put, state_of
from tests.processes import CHECKOUT

State = OutboxMessage.State
pytestmark = pytest.mark.django_db(transaction=True)


def put_as_restored(owner):
    """In each state that is under way, and long due."""
    messages = [put(owner, subject=state) for state in OutboxMessage.UNDER_WAY]
    for message, state in zip(messages, OutboxMessage.UNDER_WAY, strict=True):
        OutboxMessage.objects.filter(pk=message.pk).update(
            state=state, attempts=1, next_attempt_at=Now() - timedelta(hours=1)
        )
    return messages


def test_left_alone_it_is_sent_again(owner, relay):
    messages = put_as_restored(owner)
    deliver()
    assert len(relay.taken) == len(messages)


def test_the_statement_keeps_all_of_it_to_be_sent_or_discarded_one_by_one(owner, relay):
    messages = put_as_restored(owner)
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    with connection.cursor() as cursor:
        cursor.execute(re.search(r"UPDATE delivery_outboxmessage[^;]+;", page)[0])
        assert cursor.rowcount == len(messages)
    release_mended()
    deliver()
    assert relay.taken == []
    assert discard(actor=SYSTEM, message=messages[0])
    assert retry_now(actor=SYSTEM, message=messages[1])
    deliver()
    assert len(relay.taken) == 1
    assert [state_of(message) for message in messages] == [
        State.DISCARDED,
        State.SENT,
        State.WAITING,
    ]

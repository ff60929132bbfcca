"""Decisions for messages that wait, asked again at each attempt and once more before the dot."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.models import User
from delivery.models import OutboxMessage
from delivery.routing import Refusal, Route, Rule, decide, report_route, without_account
from delivery.services import load_account, load_settings
from delivery.watch import VERSION
from sendas.upstream import relay
from smtp.reply import Reply

Answer = Route | Refusal

GONE = Refusal(
    Reply(550, "5.7.1", "The account that sent this is gone."), without_account(Rule.NOT_OWNED)
)


class Decisions:
    """Answers by account and From, kept while the version of the rules stays the same."""

    def __init__(self) -> None:
        self._version: tuple[Any, ...] | None = None
        self._known: dict[tuple[UUID, str], Answer] = {}

    def ask(self, messages: Iterable[OutboxMessage]) -> list[Answer]:
        """For each message by the rules of this moment: one query while none has changed."""
        version = _version()
        # What is read from here on may be newer than the version, never older. Another thread that
        # sees the next version begins anew, and leaves ours to us.
        if version != self._version:
            self._version, self._known = version, {}
        known = self._known
        return [self._answer(message, known) for message in messages]

    def _answer(self, message: OutboxMessage, known: dict[tuple[UUID, str], Answer]) -> Answer:
        if message.source == OutboxMessage.Source.REPORT:
            return report_route(relay()[0])
        if message.account_id is None:
            return GONE
        key = message.account_id, message.from_address
        if key not in known:
            known[key] = _decide(*key)
        return known[key]


def _version() -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(VERSION)
        total, newest, _rows = cursor.fetchone()
    return total, newest


def _decide(account_id: UUID, from_address: str) -> Answer:
    user = User.objects.select_related("unit").filter(pk=account_id).first()
    if user is None:
        return GONE
    return decide(load_account(user), from_address, load_settings(user))

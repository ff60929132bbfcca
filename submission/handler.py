"""What the SMTP server asks Outgate: who signs in, and where a message goes."""

import asyncio
import logging
import math
from datetime import timedelta
from typing import cast

from django.db import Error as DatabaseError

from accounts.models import AppPassword
from delivery.link import AwayError
from delivery.relay import Relay
from delivery.trace import Trace, TracedSink
from smtp.header import HeaderBlock
from smtp.reply import Reply
from smtp.session import Envelope, MessageSink, Session
from submission import metrics
from submission.sign_in import SignIns

logger = logging.getLogger(__name__)

WRONG = Reply(
    535, "5.7.8", "User name or app password is not right. The web password does not work here."
)
AWAY = Reply(454, "4.7.0", "Sign-in can't be checked at present. Try again shortly.")


class SubmissionHandler:
    """Implements smtp.session.Handler; the account of a session is its app password's row."""

    def __init__(self, relay: Relay, sign_ins: SignIns) -> None:
        self._relay = relay
        self._sign_ins = sign_ins

    async def authenticate(self, session: Session, username: str, password: str) -> object | Reply:
        answer = await self._sign_in(session, username, password)
        outcome = _outcome(answer)
        metrics.SIGN_INS.labels(outcome).inc()
        fields = {"session": session.id, "outcome": outcome}
        if isinstance(answer, AppPassword):
            fields["account"] = str(answer.user_id)
        level = logging.WARNING if outcome == "blocked" else logging.INFO
        logger.log(level, "session %s: sign-in %s", session.id, outcome, extra={"fields": fields})
        return answer

    async def _sign_in(self, session: Session, username: str, password: str) -> object | Reply:
        try:
            outcome = await self._sign_ins.check(username, password, peer=session.peer)
        except (AwayError, DatabaseError, TimeoutError) as error:
            name, extra = type(error).__name__, session.for_log
            logger.warning("session %s: sign-in not checked: %s", session.id, name, extra=extra)
            return AWAY
        await asyncio.sleep(outcome.delay)
        if outcome.blocked_for:
            return _blocked(outcome.blocked_for)
        return outcome.app_password or WRONG

    async def begin(
        self, session: Session, envelope: Envelope, header: HeaderBlock
    ) -> MessageSink | Reply:
        app_password = cast("AppPassword", session.account)
        trace = Trace(session, app_password.user_id)
        opened = await self._relay.begin(session, app_password, envelope, header, trace)
        return trace.end(opened) if isinstance(opened, Reply) else TracedSink(opened, trace)


def _blocked(remaining: timedelta) -> Reply:
    """A mail program keeps a password after 454: it may well be the right one."""
    minutes = math.ceil(remaining / timedelta(minutes=1))
    return Reply(
        454,
        "4.7.0",
        "Too many wrong app passwords from your network. Nothing is checked now. Correct the app "
        f"password and try again in {minutes} minute{'' if minutes == 1 else 's'}.",
    )


def _outcome(answer: object | Reply) -> str:
    if not isinstance(answer, Reply):
        return "accepted"
    if answer == WRONG:
        return "refused"
    return "not_checked" if answer == AWAY else "blocked"

"""A stored reply in the reader's language: our own sentences, and nothing that a server said."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.utils import translation

from delivery.courier import AWAY, CHANGED, FAULT, GONE, OVERDUE, UNREADABLE
from delivery.failures import Sentence, explain_failure
from delivery.refusal_words import refusal_words
from delivery.reply_words import reply_words
from delivery.routing import RouteKind
from smtp.client import _NO_8BIT, _NO_UTF8, _TOO_LARGE
from smtp.failure import FailureKind, SmtpFailure, Step
from smtp.reply import Reply
from tests.delivery.test_failures import ADDRESS, ROUTE
from tests.delivery.test_refusal_words import REFUSED
from tests.delivery.test_routing import ON, ask

HOST = ROUTE.server.host
SAID = "We are closed today.\nNothing was sent"
RECIPIENT = "clara@customer.example"
ENGLISH = re.compile(r"[a-z]{2,} [a-z]{2,}", re.IGNORECASE)


@pytest.fixture(autouse=True)
def english_at_first() -> Iterator[None]:
    with translation.override("en"):
        yield


def in_japanese(reply: str) -> str:
    assert reply_words(reply) == reply
    with translation.override("ja"):
        return reply_words(reply)


def failures() -> Iterator[SmtpFailure]:
    for kind in FailureKind:
        if kind == FailureKind.NOT_OFFERED:
            yield from (
                SmtpFailure(kind, Step.MAIL, reply=each)
                for each in (_NO_8BIT, _NO_UTF8, _TOO_LARGE)
            )
            continue
        for step in Step:
            for code in (None, 451, 550):
                for recipient in (None, RECIPIENT, '"a b"@customer.example'):
                    reply = Reply(code, f"{code // 100}.1.1", SAID) if code else None
                    yield SmtpFailure(kind, step, reply=reply, recipient=recipient)


@pytest.mark.parametrize("kind", RouteKind)
def test_of_every_failure_only_the_servers_own_words_stay(kind):
    route = replace(ROUTE, kind=kind)
    for failure in failures():
        reply = str(explain_failure(failure, route, ADDRESS))
        japanese = in_japanese(reply)
        code, enhanced, own = japanese.split(" ", 2)
        assert reply.startswith(f"{code} {enhanced} ")
        assert HOST in own
        if SAID in reply:
            passed_on = str(failure.reply)
            assert own.endswith(passed_on)
            own = own.removesuffix(passed_on)
        assert not ENGLISH.search(own), own


def test_what_the_outbox_says_itself_is_translated():
    for reply in (AWAY, CHANGED, FAULT, GONE, OVERDUE, UNREADABLE):
        assert not ENGLISH.search(in_japanese(str(reply)))


@pytest.mark.parametrize(("address", "outside", "suspended"), REFUSED)
def test_a_refusal_is_the_one_that_the_compose_page_tells(address, outside, suspended):
    refusal = ask(address, allowed=ON, outside=outside, suspended=suspended)
    japanese = in_japanese(str(refusal.reply))
    with translation.override("ja"):
        assert japanese.endswith(refusal_words(refusal, address, outside))


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "250 2.0.0 Taken as 4Xk2",
        "550 5.7.1 Try again. But not here",
        f"550 5.1.1 {Sentence.NOTHING_SENT} Or was it?",
        "450 Greylisted\nTry again.",
    ],
)
def test_a_servers_own_answer_stays_whole(reply):
    assert in_japanese(reply) == reply


def test_a_long_reply_that_was_cut_is_framed_all_the_same():
    failure = SmtpFailure(FailureKind.REFUSED, Step.MAIL, reply=Reply(550, "", "no " * 400))
    reply = str(explain_failure(failure, ROUTE, ADDRESS))[:1000]
    japanese = in_japanese(reply)
    assert japanese.startswith(f"550 5.0.0 {HOST}の応答：550 no no")
    assert japanese.endswith("no no no")

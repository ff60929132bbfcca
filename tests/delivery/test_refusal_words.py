"""What a page says of a refusal is what a mail program hears, in the reader's language."""

import pytest
from django.utils import translation

from delivery.limits import Allowance, Answer, excess_of
from delivery.refusal_words import WORDS, excess_words, refusal_words
from tests.delivery.test_routing import (
    BROKEN,
    NONE,
    ON,
    OUTSIDE,
    PRIMARY,
    WIPED,
    ask,
    lapsed,
    pending,
    verified,
)  # fmt: skip

REFUSED = [
    (PRIMARY, NONE, True),
    ("stranger@partner.example", NONE, False),
    (OUTSIDE, pending(), False),
    (OUTSIDE, lapsed(), False),
    (OUTSIDE, verified(WIPED), False),
    (OUTSIDE, verified(BROKEN), False),
]


@pytest.mark.parametrize(("address", "outside", "suspended"), REFUSED)
def test_a_refusal_says_the_same_on_a_page(address, outside, suspended):
    refusal = ask(address, allowed=ON, outside=outside, suspended=suspended)
    assert refusal_words(refusal, address, outside) == refusal.reply.text
    with translation.override("ja"):
        japanese = refusal_words(refusal, address, outside)
    assert "Send mail as" not in japanese
    assert "ください" in japanese


def test_no_refusal_is_missing():
    rules = {
        ask(address, allowed=ON, outside=outside, suspended=suspended).explanation.rule
        for address, outside, suspended in REFUSED
    }
    assert rules == set(WORDS)


@pytest.mark.parametrize(
    ("last_hour", "last_day", "recipients"), [(5, 5, 3), (5, 19, 3), (0, 0, 8), (0, 0, 30)]
)
def test_a_limit_says_the_same_on_a_page(last_hour, last_day, recipients):
    answer = Answer(None, last_hour, last_day)
    excess = excess_of(answer, recipients, Allowance(per_hour=7, per_day=20))
    assert excess_words(excess) == excess.reply.text
    with translation.override("ja"):
        assert "送信していません" in excess_words(excess)

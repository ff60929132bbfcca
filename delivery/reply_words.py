"""Stored replies in the reader's language: what a server said behind our words stays as it is."""

import re

from django.utils.translation import gettext

from delivery.failures import Sentence
from delivery.refusal_words import WORDS

_CODES = re.compile(r"[2-5]\d\d (?:[245]\.\d{1,3}\.\d{1,3} )?")


_VALUES = {"reply": ".*", "address": ".+?", "recipient": ".+?"}  # else one word


def _pattern(english: str) -> re.Pattern[str]:
    """Finds it with its values."""
    parts = re.split(r"%\((\w+)\)s", english)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{name}>{_VALUES.get(name, '[^ ]+')})" for name in parts[1::2]]
    return re.compile("".join(parts) + r"(?: |\Z)", re.DOTALL)


# Whole refusals first: some begin with one of the sentences.
_PATTERNS = {english: _pattern(english) for english in (*WORDS.values(), *Sentence)}


def reply_words(reply: str) -> str:
    """The same codes and our sentences; all as it is where it holds anything else."""
    codes = _CODES.match(reply)
    place = codes.end() if codes else 0
    words = reply[:place]
    while place < len(reply):
        for english, pattern in _PATTERNS.items():
            if found := pattern.match(reply, place):
                words += gettext(english) % found.groupdict() + " "
                place = found.end()
                break
        else:
            return reply
    return words.rstrip()

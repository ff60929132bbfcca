"""What a domain tells receivers to do with mail that does not prove to be its own (RFC 9989)."""

import asyncio
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from sendas import dns_records

VERSION = "DMARC1"
QUESTIONS = 8  # RFC 9989 4.10: longer names lose labels in front

Record = Mapping[str, str]


class Policy(StrEnum):
    """From the mildest to the strictest; ABSENT where no record was found."""

    ABSENT = "absent"
    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


VALUES = {str(each): each for each in (Policy.NONE, Policy.QUARANTINE, Policy.REJECT)}
# RFC 9989 4.7, `t=y`: the policy is being tested, and the next milder one is applied.
WHILE_TESTED = {Policy.REJECT: Policy.QUARANTINE, Policy.QUARANTINE: Policy.NONE}


class Dmarc(NamedTuple):
    """What holds for mail from a domain.

    Identifiers align (are taken as its own) if they lie in the same organisational domain, or only
    if they equal it where `strict_spf` or `strict_dkim` says so.
    """

    policy: Policy
    organisational_domain: str
    strict_spf: bool = False
    strict_dkim: bool = False


async def look_up_dmarc(domain: str) -> Dmarc:
    """By the DNS tree walk, at most eight questions at once. Raises dns_records.Unanswered."""
    names = list(_names_upwards(domain))
    # All are waited for, also where one fails: an event loop may end with this.
    answers = await asyncio.gather(*(_record(name) for name in names), return_exceptions=True)
    records: dict[str, Record] = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        if answer:
            records[name] = answer
    organisational, topmost = _organisational_domain(domain, records)
    place = next((name for name in (domain, organisational, topmost) if name in records), None)
    if place is None:
        return Dmarc(Policy.ABSENT, organisational)
    record = records[place]
    return Dmarc(
        _policy(record, own=place == domain),
        organisational,
        strict_spf=record.get("aspf") == "s",
        strict_dkim=record.get("adkim") == "s",
    )


def _names_upwards(domain: str) -> Iterator[str]:
    labels = domain.split(".")
    yield domain
    for first in range(max(1, len(labels) + 1 - QUESTIONS), len(labels)):
        yield ".".join(labels[first:])


async def _record(name: str) -> Record:
    """The only DMARC record at the name, or {}: of several, none counts."""
    records = [parse_record(text) for text in await dns_records.texts(f"_dmarc.{name}")]
    found = [record for record in records if record]
    return found[0] if len(found) == 1 else {}


def parse_record(text: str) -> Record:
    """Its tags in lower case, the first of each; {} where it is no DMARC record."""
    pairs = [part.partition("=") for part in text.split(";")]
    tags = {tag.strip().lower(): value.strip() for tag, sign, value in reversed(pairs) if sign}
    if pairs[0][0].strip().lower() != "v" or tags.get("v") != VERSION:
        return {}
    return {tag: value.lower() for tag, value in tags.items()}


def _organisational_domain(domain: str, records: Mapping[str, Record]) -> tuple[str, str]:
    """By RFC 9989 4.10.2; and the shortest name whose record counts. The longest comes first."""
    shortest = domain
    for shortest, record in records.items():
        if record.get("psd") == "n":
            break
        if record.get("psd") == "y" and shortest != domain:
            # Everybody may register there: what belongs together begins one label below.
            labels = shortest.count(".") + 2
            return ".".join(domain.split(".")[-labels:]), shortest
    return shortest, shortest


def _policy(record: Record, *, own: bool) -> Policy:
    """What it says for its own name, or for names below it; nonsense says nothing.

    `np` is for names that don't exist, and an address's does.
    """
    tags = ("p",) if own else ("sp", "p")
    said = (record[tag] for tag in tags if record.get(tag) in VALUES)
    policy = VALUES[next(said, Policy.NONE)]
    return WHILE_TESTED.get(policy, policy) if record.get("t") == "y" else policy

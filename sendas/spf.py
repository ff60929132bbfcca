"""SPF (RFC 7208): whether a domain names a server for its mail. spftrace evaluates it."""

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, cast

from spftrace import BaseResolver, acheck
from spftrace.resolver import NOERROR, SERVFAIL

from sendas import dns_records
from smtp.egress import ascii_host, is_public

# Of one evaluation: a record's own limits (10 terms, 2 void look-ups) leave room for a hundred.
QUESTIONS = 40
# A server's name may have many addresses; a few show what its domain thinks of it.
ADDRESSES = 4


class SpfResult(StrEnum):
    """The results of RFC 7208 2.6, by their names there; and one where nothing can be asked."""

    PASS = "pass"  # noqa: S105 no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    PERMERROR = "permerror"
    TEMPERROR = "temperror"
    NO_ADDRESS = "no address"


async def check_server(domain: str, host: str, *, seconds: float) -> SpfResult:
    """What the domain's record says of the host's addresses. Raises Unanswered.

    NO_ADDRESS unless all of them are public: of what lies inside, nothing is told.
    """
    name = ascii_host(host)
    found = await dns_records.addresses(name) if name else []
    if not found or not all(is_public(ip_address(address)) for address in found):
        return SpfResult.NO_ADDRESS
    return await check_addresses(domain, found, seconds=seconds)


async def check_addresses(domain: str, addresses: Sequence[str], *, seconds: float) -> SpfResult:
    """PASS if each of them passes, else the first result that is another one."""
    result = SpfResult.PASS
    for address in addresses[:ADDRESSES]:
        checked = await acheck(
            address,
            domain,
            resolver=_Questions(),
            max_queries=QUESTIONS,
            time_limit=seconds,
            receiver="unknown",
        )
        result = SpfResult(checked.verdict)
        if result != SpfResult.PASS:
            break
    return result


class _Questions(BaseResolver):
    """Our resolver, as spftrace asks it."""

    async def _lookup(self, name: str, rtype: str) -> tuple[str, list[str]]:
        try:
            if rtype == "TXT":
                return NOERROR, await dns_records.texts(name)
            records = await dns_records.ask(name, rtype)
        except dns_records.Unanswered:
            return SERVFAIL, []
        return NOERROR, _open(rtype, [_as_text(rtype, record) for record in records])


def _as_text(rtype: str, record: Any) -> str:
    if rtype == "MX":
        return cast("str", record.exchange.to_text(omit_final_dot=True))
    if rtype == "PTR":
        return cast("str", record.target.to_text(omit_final_dot=True))
    return cast("str", record.address)


def _open(rtype: str, answers: list[str]) -> list[str]:
    """Without the addresses of names inside: a stranger's record could ask which of them exist.

    Loopback is what `exists` answers with.
    """
    if rtype not in {"A", "AAAA"}:
        return answers
    found = [ip_address(answer) for answer in answers]
    return answers if all(each.is_loopback or is_public(each) for each in found) else []

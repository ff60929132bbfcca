"""What own servers a unit's people may use, and how much they may write.

A value holds only the guardrails that its unit overrides, so each is inherited by itself: for an
account they are merged from the topmost unit down. Whoever overrides one replaces all of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import gt
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from smtp.egress import ascii_host, is_host_name
from smtp.target import Security

WILDCARD = "*."
EVERY_NAME = "*"
MOST_PATTERNS = 500
# What the list of an account can hold at all; a unit can only ask for less.
MOST_ADDRESSES = 99
MOST_RECIPIENTS = 1_000_000
PORTS = range(1, 65536)
TLS_VERSIONS = ("1.2", "1.3")


class Guardrail(models.TextChoices):
    """The keys of a value; each holds an object."""

    SERVERS = "servers", gettext_lazy("Servers")
    DOMAINS = "domains", gettext_lazy("Address domains")
    CONNECTION = "connection", gettext_lazy("Ports and encryption")
    ADDRESSES = "addresses", gettext_lazy("Addresses per person")
    RECIPIENTS = "recipients", gettext_lazy("Sending limits")
    APPROVAL = "approval", gettext_lazy("Approval")


@dataclass(frozen=True)
class Patterns:
    """Names that are allowed, all of them where none is named, but for those that are denied."""

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()

    def permit(self, name: str) -> bool:
        if _is_matched(name, self.denied):
            return False
        return not self.allowed or _is_matched(name, self.allowed)

    def exceed(self, others: "Patterns") -> bool:
        """Whether they permit a name that the others do not."""
        free = [name for name in others.denied if not _is_matched(name, self.denied)]
        for own in self.allowed or (EVERY_NAME,):
            if any(_matches(own, name) for name in free):
                return True
            if not (others.permit(own) or _is_matched(own, self.denied)):
                return True
        return False


class Decider(NamedTuple):
    """The unit that a guardrail is set for, and the version it came with."""

    unit: str
    version: int


@dataclass(frozen=True)
class Guardrails:
    """What holds for an account. Without ports all that the operator opened; None: its limits."""

    servers: Patterns = Patterns()
    domains: Patterns = Patterns()
    ports: frozenset[int] = frozenset()
    least_tls: str = TLS_VERSIONS[0]
    tls_from_start: bool = False
    most_addresses: int = MOST_ADDRESSES
    recipients_per_hour: int | None = None
    recipients_per_day: int | None = None
    needs_approval: bool = False
    deciders: Mapping[str, Decider] = field(default_factory=dict)

    def forbidding(self, *, domain: str, host: str, port: int, security: str) -> Guardrail | None:
        """The guardrail that an own server as described for addresses at `domain` runs into."""
        if not self.domains.permit(domain):
            return Guardrail.DOMAINS
        if not self.servers.permit(ascii_host(host) or host):
            return Guardrail.SERVERS
        is_open = not self.ports or port in self.ports
        if not is_open or (self.tls_from_start and security != Security.SSL):
            return Guardrail.CONNECTION
        return None

    def as_value(self) -> dict[str, dict[str, Any]]:
        """All of them as a unit would save them."""
        return {
            Guardrail.SERVERS: _as_lists(self.servers),
            Guardrail.DOMAINS: _as_lists(self.domains),
            Guardrail.CONNECTION: {
                "ports": sorted(self.ports),
                "least_tls": self.least_tls,
                "tls_from_start": self.tls_from_start,
            },
            Guardrail.ADDRESSES: {"most": self.most_addresses},
            Guardrail.RECIPIENTS: {
                "per_hour": self.recipients_per_hour,
                "per_day": self.recipients_per_day,
            },
            Guardrail.APPROVAL: {"needed": self.needs_approval},
        }

    def decider(self, guardrail: str) -> Decider:
        return self.deciders.get(guardrail, Decider("", 0))


NO_GUARDRAILS = Guardrails()


def merge(rows: Iterable[tuple[str, int, Mapping[str, Any]]]) -> Guardrails:
    """From the topmost unit down: its name, the version of its value, and the value."""
    merged: dict[str, Any] = {}
    deciders: dict[str, Decider] = {}
    for unit, version, value in rows:
        merged |= value
        deciders |= dict.fromkeys(value, Decider(unit, version))
    if not merged:
        return NO_GUARDRAILS
    connection = merged.get(Guardrail.CONNECTION, {})
    recipients = merged.get(Guardrail.RECIPIENTS, {})
    return Guardrails(
        servers=_patterns(merged.get(Guardrail.SERVERS, {})),
        domains=_patterns(merged.get(Guardrail.DOMAINS, {})),
        ports=frozenset(connection.get("ports", ())),
        least_tls=connection.get("least_tls", TLS_VERSIONS[0]),
        tls_from_start=connection.get("tls_from_start", False),
        most_addresses=merged.get(Guardrail.ADDRESSES, {}).get("most", MOST_ADDRESSES),
        recipients_per_hour=recipients.get("per_hour"),
        recipients_per_day=recipients.get("per_day"),
        needs_approval=merged.get(Guardrail.APPROVAL, {}).get("needed", False),
        deciders=deciders,
    )


def _patterns(value: Mapping[str, Any]) -> Patterns:
    return Patterns(tuple(value.get("allowed", ())), tuple(value.get("denied", ())))


def _as_lists(patterns: Patterns) -> dict[str, list[str]]:
    return {"allowed": list(patterns.allowed), "denied": list(patterns.denied)}


def _is_matched(name: str, patterns: Iterable[str]) -> bool:
    return any(_matches(pattern, name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    """Also whether all names that one pattern matches are matched by another."""
    if pattern.startswith(WILDCARD):
        return name.endswith(pattern[1:])
    return pattern in (name, EVERY_NAME)


# --- a unit below another -----------------------------------------------------------------------


def loosened(value: Mapping[str, Any], above: Guardrails) -> list[Guardrail]:
    """The guardrails of a unit's value that permit what a unit above it forbids."""
    own = merge([("", 0, value)])
    looser = {
        Guardrail.SERVERS: own.servers.exceed(above.servers),
        Guardrail.DOMAINS: own.domains.exceed(above.domains),
        Guardrail.CONNECTION: _connects_more(own, above),
        Guardrail.ADDRESSES: own.most_addresses > above.most_addresses,
        Guardrail.RECIPIENTS: any(map(gt, _limits(own), _limits(above))),
        Guardrail.APPROVAL: above.needs_approval and not own.needs_approval,
    }
    return [each for each in looser if looser[each] and each in value and each in above.deciders]


def _connects_more(own: Guardrails, above: Guardrails) -> bool:
    more_ports = bool(above.ports) and not (own.ports and own.ports <= above.ports)
    older_tls = TLS_VERSIONS.index(own.least_tls) < TLS_VERSIONS.index(above.least_tls)
    return more_ports or older_tls or (above.tls_from_start and not own.tls_from_start)


def _limits(guardrails: Guardrails) -> tuple[int, int]:
    return (
        guardrails.recipients_per_hour or settings.OUTGATE_RECIPIENTS_PER_HOUR,
        guardrails.recipients_per_day or settings.OUTGATE_RECIPIENTS_PER_DAY,
    )


# --- what may be saved --------------------------------------------------------------------------


def clean_pattern(text: str, *, literals: bool) -> str:
    """A name, or `*.` and a name, as it is kept. Raise ValidationError that quotes what is wrong.

    `literals`: an IP address is a name as well.
    """
    typed = text.strip()
    wild = typed.startswith(WILDCARD)
    host = ascii_host(typed[2:] if wild else typed)
    if host is None or not (is_host_name(host) or (literals and not wild)):
        raise ValidationError(
            _(
                "“%(text)s” is no name. Write one on each line: mail.partner.example for that one, "
                "or *.partner.example for all below it."
            )
            % {"text": typed}
        )
    return f"{WILDCARD}{host}" if wild else host


def clean_patterns(lines: Iterable[str], *, literals: bool) -> list[str]:
    """Each once, in their order; empty lines are left out."""
    patterns = [clean_pattern(line, literals=literals) for line in lines if line.strip()]
    if len(patterns) > MOST_PATTERNS:
        raise ValidationError(
            _("These are %(number)s names; %(most)s at most can be kept. Wildcards need fewer.")
            % {"number": len(patterns), "most": MOST_PATTERNS}
        )
    return list(dict.fromkeys(patterns))


def check_guardrails(value: Mapping[str, Any]) -> None:
    """Raise ValueError for a value that no form of ours can have made."""
    for guardrail, parts in value.items():
        checks = CHECKS.get(guardrail)
        if checks is None or not isinstance(parts, dict) or set(parts) != set(checks):
            raise ValueError(f"Not a guardrail: {guardrail}")
        for name, check in checks.items():
            if not check(parts[name]):
                raise ValueError(f"Not a value of {guardrail}, {name}")


def _are_patterns(value: Any, *, literals: bool) -> bool:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return False
    try:
        return clean_patterns(value, literals=literals) == value
    except ValidationError:
        return False


def _is_number(value: Any, *, most: int, least: int = 1) -> bool:
    return type(value) is int and least <= value <= most


def _is_limit(value: Any) -> bool:
    return value is None or _is_number(value, most=MOST_RECIPIENTS)


def _are_ports(value: Any) -> bool:
    return isinstance(value, list) and all(type(port) is int and port in PORTS for port in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


Check = Callable[[Any], bool]
CHECKS: dict[str, dict[str, Check]] = {
    Guardrail.SERVERS: dict.fromkeys(("allowed", "denied"), partial(_are_patterns, literals=True)),
    Guardrail.DOMAINS: dict.fromkeys(("allowed", "denied"), partial(_are_patterns, literals=False)),
    Guardrail.CONNECTION: {
        "ports": _are_ports,
        "least_tls": TLS_VERSIONS.__contains__,
        "tls_from_start": _is_flag,
    },
    Guardrail.ADDRESSES: {"most": partial(_is_number, most=MOST_ADDRESSES, least=0)},
    Guardrail.RECIPIENTS: {"per_hour": _is_limit, "per_day": _is_limit},
    Guardrail.APPROVAL: {"needed": _is_flag},
}

"""The one decision: by which server does a message leave, and with which envelope and headers.

A pure function over plain values. Every door asks it; nothing else decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from policies.guardrails import NO_GUARDRAILS, Decider, Guardrail, Guardrails
from policies.models import GatewayFailure
from sendas.models import Approval
from smtp.address import split_address
from smtp.reply import Reply
from smtp.target import Server


class Rule(StrEnum):
    """The line of the decision table that matched."""

    SUSPENDED = "suspended"
    NOT_OWNED = "not_owned"
    UNVERIFIED = "unverified"
    ADDRESS_SUSPENDED = "address_suspended"
    PRIMARY = "primary"
    OWN_ALIAS = "own_alias"
    NO_GATEWAY = "no_gateway"
    GATEWAY_OFF = "gateway_off"
    GATEWAY_FORBIDDEN = "gateway_forbidden"
    GATEWAY_WAITS = "gateway_waits"
    GATEWAY_UNAPPROVED = "gateway_unapproved"
    GATEWAY = "gateway"
    GATEWAY_BROKEN = "gateway_broken"
    GATEWAY_WIPED = "gateway_wiped"
    OUR_SERVERS_INSTEAD = "our_servers_instead"
    REPORT = "report"


class RouteKind(StrEnum):
    DEFAULT = "default"
    GATEWAY = "gateway"


@dataclass(frozen=True)
class Gateway:
    """An address's own server, whose credential is named by id only.

    `works`: a password is stored, and not known to be refused. `wiped`: the reason where an
    administrator had it deleted.
    """

    server: Server
    credential_id: UUID
    works: bool = True
    wiped: bool = False
    approval: Approval = Approval.NOT_NEEDED


@dataclass(frozen=True)
class OutsideAddress:
    """`suspended`: it was verified, and has to be proved again first."""

    verified: bool
    gateway: Gateway | None = None
    suspended: bool = False

    @property
    def is_usable(self) -> bool:
        return self.verified and not self.suspended


@dataclass(frozen=True)
class AccountSnapshot:
    """What the decision has to know of an account; addresses are normalised."""

    primary_address: str
    own_aliases: frozenset[str] = frozenset()
    outside: Mapping[str, OutsideAddress] = field(default_factory=dict)
    suspended: bool = False
    unit: str = ""
    cohort: int = 0

    def owns(self, address: str) -> bool:
        """Whether it is the primary address, an own alias, or verified."""
        if address == self.primary_address or address in self.own_aliases:
            return True
        return address in self.outside and self.outside[address].is_usable


@dataclass(frozen=True)
class OutboundGateway:
    """The server that `unit` named for mail by our servers, and who signs in there, by id."""

    server: Server
    credential_id: UUID | None
    unit: str


@dataclass(frozen=True)
class AppliedSettings:
    """What holds for the account now; `deciding_unit` is "" where no unit has a value."""

    gateways_allowed: bool
    deciding_unit: str
    version: int
    relay: Server
    on_failure: GatewayFailure = GatewayFailure.REFUSE
    guardrails: Guardrails = NO_GUARDRAILS
    outbound: OutboundGateway | None = None


@dataclass(frozen=True)
class Explanation:
    """Why: stored with every delivery and shown wherever the route is shown.

    Where a guardrail decided, it is named, and unit and version are those that it came from.
    `outbound` is the unit whose outbound gateway carries the mail.
    """

    rule: Rule
    gateways_allowed: bool
    deciding_unit: str
    version: int
    unit: str
    cohort: int
    guardrail: str = ""
    outbound: str = ""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Route:
    """Where to, by whose credential, and what is written.

    `is_relay` where it is the installation's own relay, which has its sign-in in its URL.
    `sender` is the Sender field to add, "" for none. `least_tls` is the version that the server
    has to speak. Should the server not work, the message may wait for it (`may_wait`), or go
    another way (`instead`), or it is refused.
    """

    kind: RouteKind
    server: Server
    envelope_sender: str
    explanation: Explanation
    sender: str = ""
    credential_id: UUID | None = None
    least_tls: str = Guardrails.least_tls
    is_relay: bool = False
    may_wait: bool = False
    instead: "Route | None" = None

    def permits(self, other: "Route") -> bool:
        """Whether the other writes the same to the same server by the same credential.

        Or does so where this one's server does not work.
        """
        same = replace(
            self, explanation=other.explanation, may_wait=other.may_wait, instead=other.instead
        )
        return same == other or (self.instead is not None and self.instead.permits(other))


@dataclass(frozen=True)
class Refusal:
    """No route: what the mail program hears, unless the message may wait for a better answer.

    `credential_id` is the one that does not work, where that is the reason.
    """

    reply: Reply
    explanation: Explanation
    credential_id: UUID | None = None
    may_wait: bool = False


def decide(
    account: AccountSnapshot, from_address: str, settings: AppliedSettings
) -> Route | Refusal:
    """The first line that matches decides; `from_address` is normalised."""
    case = _Case(account, from_address, settings)
    if account.suspended:
        return case.refuse(Rule.SUSPENDED, "This account is suspended. Ask your administrator.")
    if from_address == account.primary_address:
        return case.by_our_servers(Rule.PRIMARY)
    if from_address in account.own_aliases:
        return case.by_our_servers(Rule.OWN_ALIAS)
    outside = account.outside.get(from_address)
    if outside is None:
        return case.refuse(
            Rule.NOT_OWNED,
            f"{from_address} is not one of your addresses. Add it under Send mail as, or choose "
            "another From.",
        )
    if not outside.verified:
        return case.refuse(
            Rule.UNVERIFIED,
            f"{from_address} is not verified yet. Type the code that was sent to it under Send "
            "mail as.",
        )
    if outside.suspended:
        return case.refuse(
            Rule.ADDRESS_SUSPENDED,
            f"{from_address} is suspended, for it was not proved again in time. Nothing was sent. "
            "Have a code sent to it under Send mail as, and type it there.",
        )
    if outside.gateway is None:
        return case.on_behalf(Rule.NO_GATEWAY)
    return case.with_gateway(outside.gateway)


def without_account(rule: Rule) -> Explanation:
    """Of what no account's policy has a say in."""
    return Explanation(rule, gateways_allowed=False, deciding_unit="", version=0, unit="", cohort=0)


def report_route(relay: Server) -> Route:
    """A report of ours about a message that could not be delivered: nobody answers to it."""
    return Route(RouteKind.DEFAULT, relay, "", without_account(Rule.REPORT), is_relay=True)


@dataclass(frozen=True)
class _Case:
    """One question, and the forms its answer can take."""

    account: AccountSnapshot
    from_address: str
    settings: AppliedSettings

    def explain(self, rule: Rule, guardrail: str = "") -> Explanation:
        settings = self.settings
        decider = (
            settings.guardrails.decider(guardrail)
            if guardrail
            else Decider(settings.deciding_unit, settings.version)
        )
        return Explanation(
            rule,
            settings.gateways_allowed,
            *decider,
            self.account.unit,
            self.account.cohort,
            guardrail,
        )

    def by_default(self, rule: Rule, sender: str, guardrail: str = "") -> Route:
        """To the unit's outbound gateway, or to the installation's relay."""
        outbound = self.settings.outbound
        explanation = self.explain(rule, guardrail)
        if outbound is None:
            return Route(RouteKind.DEFAULT, self.settings.relay, sender, explanation, is_relay=True)
        return Route(
            RouteKind.DEFAULT,
            outbound.server,
            sender,
            replace(explanation, outbound=outbound.unit),
            credential_id=outbound.credential_id,
        )

    def refuse(self, rule: Rule, text: str) -> Refusal:
        return Refusal(Reply(550, "5.7.1", text), self.explain(rule))

    def by_our_servers(self, rule: Rule) -> Route:
        return self.by_default(rule, self.from_address)

    def on_behalf(self, rule: Rule, guardrail: str = "") -> Route:
        primary = self.account.primary_address
        return replace(self.by_default(rule, primary, guardrail), sender=primary)

    def with_gateway(self, gateway: Gateway) -> Route | Refusal:
        if not self.settings.gateways_allowed:
            return self.on_behalf(Rule.GATEWAY_OFF)
        if unused := self.guarded(gateway):
            return unused
        return self.through(gateway) if gateway.works else self.without(gateway)

    def guarded(self, gateway: Gateway) -> Route | None:
        """The way of a gateway that may not be used; None where no guardrail stands before it."""
        guardrails, server = self.settings.guardrails, gateway.server
        forbidding = guardrails.forbidding(
            domain=split_address(self.from_address)[1],
            host=server.host,
            port=server.port,
            security=server.security,
        )
        if forbidding:
            return self.on_behalf(Rule.GATEWAY_FORBIDDEN, forbidding)
        if gateway.approval == Approval.REFUSED:
            return self.on_behalf(Rule.GATEWAY_UNAPPROVED)
        if gateway.approval == Approval.WAITING and guardrails.needs_approval:
            return self.on_behalf(Rule.GATEWAY_WAITS, Guardrail.APPROVAL)
        return None

    def through(self, gateway: Gateway) -> Route:
        choice = self.settings.on_failure
        is_ours = choice == GatewayFailure.OUR_SERVERS
        return Route(
            RouteKind.GATEWAY,
            gateway.server,
            self.from_address,
            self.explain(Rule.GATEWAY),
            credential_id=gateway.credential_id,
            least_tls=self.settings.guardrails.least_tls,
            may_wait=choice == GatewayFailure.HOLD,
            instead=self.on_behalf(Rule.OUR_SERVERS_INSTEAD) if is_ours else None,
        )

    def without(self, gateway: Gateway) -> Route | Refusal:
        """No password for it is stored any more, or its server has refused that before."""
        if self.settings.on_failure == GatewayFailure.OUR_SERVERS:
            return self.on_behalf(Rule.OUR_SERVERS_INSTEAD)
        if gateway.wiped:
            refusal = self.refuse(
                Rule.GATEWAY_WIPED,
                f"Your administrator had the stored password for {gateway.server.host} deleted. "
                "Nothing was sent. Enter the password again under Send mail as.",
            )
        else:
            refusal = self.refuse(
                Rule.GATEWAY_BROKEN,
                f"{gateway.server.host} no longer accepts the stored password for "
                f"{self.from_address}. Nothing was sent. Enter the new password under Send mail "
                "as.",
            )
        return replace(
            refusal,
            credential_id=gateway.credential_id,
            may_wait=self.settings.on_failure == GatewayFailure.HOLD,
        )

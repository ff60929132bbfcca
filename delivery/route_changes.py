"""How the routes of many addresses turn when the settings of their accounts change.

Addresses that the decision can't tell apart are one class: it is asked once for each class, and the
database counts how many addresses each has. So a million of them cost one statement.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import reduce
from itertools import product
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import (
    BooleanField,
    Count,
    Exists,
    Expression,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    TextField,
    Value,
)
from django.db.models.lookups import In

from accounts.models import Domain
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Gateway,
    OutboundGateway,
    OutsideAddress,
    Refusal,
    Route,
    RouteKind,
    decide,
)
from policies.guardrails import Guardrails
from policies.models import GatewayFailure
from sendas.models import Approval, SendAs
from smtp.target import Security, Server

_ADDRESS = "somebody@elsewhere.example"
# All that a guardrail looks at.
SERVER = ("domain", "smtp_msa__host", "smtp_msa__port", "smtp_msa__security_mode")
_SOMEWHERE = Server("server.example", 587, Security.STARTTLS)


class Turn(StrEnum):
    """What becomes of an address's mail."""

    THROUGH = "through"
    ON_BEHALF = "on-behalf"
    RESUMES = "resumes"
    WAITS = "waits"
    STOPPED = "stopped"
    OTHER_SERVER = "other-server"
    WAITS_INSTEAD = "waits-instead"
    REFUSED_INSTEAD = "refused-instead"
    IF_FAILS = "if-fails"
    STAYS_ON_BEHALF = "stays-on-behalf"


class Held(NamedTuple):
    """What is applied to accounts, their guardrails apart."""

    allowed: bool
    on_failure: GatewayFailure
    outbound: OutboundGateway | None = None


class Shift(NamedTuple):
    """That what is applied to accounts becomes something else; their guardrails stay."""

    now: Held
    then: Held


class AddressClass(NamedTuple):
    """All that the decision knows of a send-as address, its account's policy apart.

    `suspended` says it of the account, `lapsed` of the address; `barred` of its server, which a
    guardrail forbids, or an administrator has refused or not approved yet.
    """

    suspended: bool
    verified: bool
    lapsed: bool
    has_gateway: bool
    barred: bool
    works: bool
    wiped: bool

    def but_barred(self) -> Q:
        return Q(**{name: value for name, value in self._asdict().items() if name != "barred"})

    def turn(self, shift: Shift) -> Turn | None:
        return _turn(self._answer(shift.now), self._answer(shift.then))

    def _answer(self, held: Held) -> Route | Refusal:
        # Whatever bars a server, the answer is the same as for a refused one.
        approval = Approval.REFUSED if self.barred else Approval.NOT_NEEDED
        gateway = Gateway(_SOMEWHERE, UUID(int=0), self.works, self.wiped, approval)
        outside = OutsideAddress(self.verified, gateway if self.has_gateway else None, self.lapsed)
        account = AccountSnapshot(
            primary_address="primary@yourdomain.example",
            outside={_ADDRESS: outside},
            suspended=self.suspended,
        )
        settings = AppliedSettings(
            held.allowed, "", 0, _SOMEWHERE, held.on_failure, outbound=held.outbound
        )
        return decide(account, _ADDRESS, settings)


def _turn(now: Route | Refusal, then: Route | Refusal) -> Turn | None:
    if isinstance(then, Refusal):
        return _refused(now, then)
    if then.kind == RouteKind.GATEWAY:
        if isinstance(now, Route) and now.kind == RouteKind.GATEWAY:
            return Turn.IF_FAILS if _without_server(now) != _without_server(then) else None
        return Turn.THROUGH
    if isinstance(now, Refusal):
        return Turn.RESUMES
    if now.kind == RouteKind.GATEWAY:
        return Turn.ON_BEHALF
    return Turn.STAYS_ON_BEHALF if _where(now) == _where(then) else Turn.OTHER_SERVER


def _refused(now: Route | Refusal, then: Refusal) -> Turn | None:
    if isinstance(now, Route):
        return Turn.WAITS if then.may_wait else Turn.STOPPED
    if now.may_wait == then.may_wait:
        return None
    return Turn.WAITS_INSTEAD if then.may_wait else Turn.REFUSED_INSTEAD


def _where(route: Route | None) -> tuple[Server, UUID | None] | None:
    return (route.server, route.credential_id) if route else None


def _without_server(route: Route) -> tuple[bool, tuple[Server, UUID | None] | None]:
    """What becomes of a message through an own server should that not work."""
    return route.may_wait, _where(route.instead)


def count_turns(addresses: QuerySet[SendAs], shift: Shift, barred: Q) -> Counter[Turn]:
    """How many of these addresses take each turn: one query."""
    found = with_class(addresses, barred).values_list(*AddressClass._fields).annotate(Count("pk"))
    turns: Counter[Turn] = Counter()
    for *known, count in found.order_by():
        if turn := AddressClass(*known).turn(shift):
            turns[turn] += count
    return turns


def takes(turn: Turn, shift: Shift) -> Q:
    """The condition for addresses, with their class, that take that turn."""
    taking = [known for known in _classes() if known.turn(shift) == turn]
    # One condition on `barred` for all classes of each kind: it can be long.
    return any_of(
        Q(barred=barred) & any_of(known.but_barred() for known in taking if known.barred == barred)
        for barred in (False, True)
    )


def any_of(conditions: Iterable[Q]) -> Q:
    """One that holds where one of them does: nowhere, without any.

    Nothing else stands in it, for PostgreSQL takes no index to a condition with an OR too many.
    """
    return reduce(or_, conditions, Q()) or Q(pk=None)


def _classes() -> Iterator[AddressClass]:
    return (
        AddressClass(*known) for known in product((False, True), repeat=len(AddressClass._fields))
    )


def barred_by(
    guardrails: Sequence[Guardrails], place: Expression, addresses: QuerySet[SendAs]
) -> Q:
    """The condition for those of the addresses whose server guardrails bar: one query.

    `place`: of those of an address among the guardrails, as text; else "".
    """
    servers = addresses.filter(smtp_msa__isnull=False).values_list(place, *SERVER).distinct()
    forbidden = [
        (held, *server)
        for held, *server in servers.order_by()
        if held and is_forbidden(guardrails[int(held)], server)
    ]
    waiting = [str(each) for each, rails in enumerate(guardrails) if rails.needs_approval]
    barred = has_server(place, forbidden)
    if waiting:
        barred |= Q(In(place, waiting)) & Q(smtp_msa__approval=Approval.WAITING)
    return barred


def is_forbidden(guardrails: Guardrails, server: Sequence[Any]) -> bool:
    """`server`: the values of SERVER."""
    domain, host, port, security = server
    return bool(guardrails.forbidding(domain=domain, host=host, port=port, security=security))


def has_server(place: Expression | F, servers: Iterable[tuple[Any, ...]]) -> Q:
    """The condition for addresses with one of these places and servers: (place, *SERVER)."""
    texts = [" ".join(map(str, each)) for each in servers]
    text = Func(
        place, *SERVER, template="(%(expressions)s)", arg_joiner=" || ' ' || ",
        output_field=TextField(),
    )  # fmt: skip
    return Q(In(text, texts)) if texts else Q(pk=None)


def with_class(addresses: QuerySet[SendAs], barred: Q) -> QuerySet[Any]:
    """With the fields of AddressClass, as delivery/services.py reads them for one account.

    `barred`: which servers guardrails bar, for these addresses.
    """
    domain = Func(OuterRef("send_as_email"), Value("[^@]*$"), function="SUBSTRING")
    inside = Exists(Domain.objects.filter(name=domain))
    return addresses.exclude(verification_status="").annotate(
        suspended=F("user__suspended"),
        verified=_is(Q(verification_status=SendAs.VerificationStatus.ACCEPTED)),
        lapsed=_is(Q(suspended_at__isnull=False)),
        # A domain that became the organisation's own has no gateways any more.
        has_gateway=_is(Q(smtp_msa__isnull=False) & ~Q(inside)),
        barred=_is(Q(smtp_msa__isnull=False) & (Q(smtp_msa__approval=Approval.REFUSED) | barred)),
        works=_is(Q(smtp_msa__refused_at=None, smtp_msa__wiped_at=None)),
        wiped=_is(Q(smtp_msa__wiped_at__isnull=False)),
    )


def _is(condition: Q) -> Expression:
    return ExpressionWrapper(condition, output_field=BooleanField())

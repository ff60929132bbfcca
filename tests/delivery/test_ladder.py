"""The decision step by step, from what it says of itself."""

from dataclasses import replace
from uuid import UUID

import pytest

from delivery.ladder import LINES, ladder
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Gateway,
    OutsideAddress,
    Rule,
    decide,
)
from policies.guardrails import Guardrails, Patterns
from policies.models import GatewayFailure
from sendas.models import Approval
from smtp.target import Security, Server

ADDRESS = "user.name@partnerdomain.com"
SERVER = Server("smtp.partnerdomain.com", 587, Security.STARTTLS)
GATEWAY = Gateway(SERVER, UUID(int=1))
ON = AppliedSettings(gateways_allowed=True, deciding_unit="Sales", version=3, relay=SERVER)
OFF = replace(ON, gateways_allowed=False)


def account(outside=None, **fields):
    known = {} if outside is None else {ADDRESS: outside}
    return AccountSnapshot(**{"primary_address": "user@yourdomain.com", "outside": known, **fields})


OURS = GatewayFailure.OUR_SERVERS
BROKEN = OutsideAddress(verified=True, gateway=replace(GATEWAY, works=False))
WIPED = OutsideAddress(verified=True, gateway=replace(GATEWAY, works=False, wiped=True))
WAITING = OutsideAddress(
    verified=True, gateway=replace(GATEWAY, works=False, approval=Approval.WAITING)
)
UNAPPROVED = OutsideAddress(
    verified=True, gateway=replace(GATEWAY, works=False, approval=Approval.REFUSED)
)
ASKING = replace(ON, guardrails=Guardrails(needs_approval=True), on_failure=OURS)
FORBIDDING = replace(ASKING, guardrails=Guardrails(domains=Patterns(denied=("partnerdomain.com",))))
PENDING = OutsideAddress(verified=False, suspended=True)
# Each case fits a line of the table and nearly all that stand before it in this list, so that the
# answer shows which of two lines is looked at first.
CASES = [
    (Rule.GATEWAY, account(OutsideAddress(verified=True, gateway=GATEWAY)), ON),
    (Rule.GATEWAY_BROKEN, account(BROKEN), ON),
    (Rule.GATEWAY_WIPED, account(WIPED), ON),
    (Rule.OUR_SERVERS_INSTEAD, account(WIPED), replace(ON, on_failure=OURS)),
    (Rule.GATEWAY_WAITS, account(WAITING), ASKING),
    (Rule.GATEWAY_UNAPPROVED, account(UNAPPROVED), ASKING),
    (Rule.GATEWAY_FORBIDDEN, account(UNAPPROVED), FORBIDDING),
    (Rule.GATEWAY_OFF, account(UNAPPROVED), replace(FORBIDDING, gateways_allowed=False)),
    (Rule.NO_GATEWAY, account(OutsideAddress(verified=True)), OFF),
    (Rule.ADDRESS_SUSPENDED, account(OutsideAddress(verified=True, suspended=True)), OFF),
    (Rule.UNVERIFIED, account(PENDING), OFF),
    (Rule.NOT_OWNED, account(), OFF),
    (Rule.OWN_ALIAS, account(PENDING, own_aliases=frozenset({ADDRESS})), OFF),
    (
        Rule.PRIMARY,
        account(PENDING, primary_address=ADDRESS, own_aliases=frozenset({ADDRESS})),
        OFF,
    ),
    (Rule.SUSPENDED, account(PENDING, primary_address=ADDRESS, suspended=True), OFF),
]


def test_the_lines_stand_in_the_order_in_which_the_decision_looks_at_them():
    found = [decide(who, ADDRESS, applied).explanation.rule for _rule, who, applied in CASES]
    assert found == [rule for rule, _who, _applied in CASES] == [*LINES][::-1]


@pytest.mark.parametrize(("rule", "who", "applied"), CASES)
def test_lines_before_the_one_that_decided_say_no_and_those_after_were_not_reached(
    rule, who, applied
):
    rungs = ladder(decide(who, ADDRESS, applied).explanation.as_json(), {rule: "known"})
    states = {rung.rule: rung.state for rung in rungs}
    place = [*LINES].index(rule)
    assert list(states.values()) == [
        *["no"] * place,
        "decides",
        *["unreached"] * (len(LINES) - place - 1),
    ]
    assert [rung.rule for rung in rungs if rung.detail] == [rule]


@pytest.mark.parametrize("explanation", [{}, {"rule": Rule.REPORT}, {"rule": "of another time"}])
def test_what_no_line_decided_has_no_ladder(explanation):
    assert ladder(explanation) == []

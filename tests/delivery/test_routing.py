"""The decision table of docs/flow.md, line by line."""

from dataclasses import replace
from uuid import UUID

import pytest

from delivery.explain import explain
from delivery.routing import (
    AccountSnapshot,
    AppliedSettings,
    Gateway,
    OutboundGateway,
    OutsideAddress,
    Refusal,
    Route,
    RouteKind,
    Rule,
    decide,
)
from policies.guardrails import NO_GUARDRAILS, Decider, Guardrail, Guardrails, Patterns
from policies.models import GatewayFailure
from sendas.models import Approval
from smtp.target import Security, Server

PRIMARY, ALIAS, OUTSIDE = "user@yourdomain.com", "yuki@yourdomain.com", "user.name@partner.example"
RELAY = Server("relay.yourdomain.com", 587, Security.STARTTLS)
PARTNER = Server("smtp.partner.example", 587, Security.STARTTLS)
CREDENTIAL = UUID(int=7)
WORKING, BROKEN = Gateway(PARTNER, CREDENTIAL), Gateway(PARTNER, CREDENTIAL, works=False)
WIPED = Gateway(PARTNER, CREDENTIAL, works=False, wiped=True)
NONE, OFF, ON = None, False, True


def ask(
    from_address,
    *,
    allowed=OFF,
    outside=NONE,
    suspended=False,
    on_failure=GatewayFailure.REFUSE,
    guardrails=NO_GUARDRAILS,
    outbound=None,
):
    account = AccountSnapshot(
        primary_address=PRIMARY,
        own_aliases=frozenset({ALIAS}),
        outside={OUTSIDE: outside} if outside else {},
        suspended=suspended,
        unit="yourdomain.com › Sales",
        cohort=5,
    )
    settings = AppliedSettings(allowed, "Sales", 3, RELAY, on_failure, guardrails, outbound)
    return decide(account, from_address, settings)


def verified(gateway=None):
    return OutsideAddress(verified=True, gateway=gateway)


def pending(gateway=None):
    return OutsideAddress(verified=False, gateway=gateway)


def lapsed(gateway=None):
    return OutsideAddress(verified=True, gateway=gateway, suspended=True)


@pytest.mark.parametrize("allowed", [OFF, ON])
@pytest.mark.parametrize(
    ("from_address", "outside", "suspended", "rule"),
    [
        ("stranger@partner.example", NONE, False, Rule.NOT_OWNED),
        ("colleague@yourdomain.com", NONE, False, Rule.NOT_OWNED),
        (OUTSIDE, pending(), False, Rule.UNVERIFIED),
        (OUTSIDE, pending(WORKING), False, Rule.UNVERIFIED),
        (OUTSIDE, lapsed(), False, Rule.ADDRESS_SUSPENDED),
        (OUTSIDE, lapsed(WORKING), False, Rule.ADDRESS_SUSPENDED),
        (OUTSIDE, lapsed(BROKEN), False, Rule.ADDRESS_SUSPENDED),
        (PRIMARY, NONE, True, Rule.SUSPENDED),
        (ALIAS, NONE, True, Rule.SUSPENDED),
        (OUTSIDE, verified(WORKING), True, Rule.SUSPENDED),
    ],
)
def test_refused_whatever_the_policy_says(allowed, from_address, outside, suspended, rule):
    answer = ask(from_address, allowed=allowed, outside=outside, suspended=suspended)
    assert isinstance(answer, Refusal)
    assert (answer.reply.code, answer.reply.enhanced) == (550, "5.7.1")
    assert answer.explanation.rule == rule


def test_a_wiped_password_is_as_a_broken_gateway_but_in_its_words():
    answer = ask(OUTSIDE, allowed=ON, outside=verified(WIPED))
    assert isinstance(answer, Refusal)
    assert answer.explanation.rule == Rule.GATEWAY_WIPED
    assert "Enter the password again under Send mail as" in answer.reply.text
    held = ask(OUTSIDE, allowed=ON, outside=verified(WIPED), on_failure=GatewayFailure.HOLD)
    assert isinstance(held, Refusal)
    assert (held.may_wait, held.credential_id) == (True, CREDENTIAL)
    ours = ask(OUTSIDE, allowed=ON, outside=verified(WIPED), on_failure=GatewayFailure.OUR_SERVERS)
    assert isinstance(ours, Route)
    assert ours.sender == PRIMARY


def test_a_suspended_address_is_told_how_it_is_mended_and_is_not_owned():
    answer = ask(OUTSIDE, allowed=ON, outside=lapsed(WORKING))
    assert "Have a code sent to it under Send mail as" in answer.reply.text
    account = AccountSnapshot(PRIMARY, outside={OUTSIDE: lapsed()})
    assert not account.owns(OUTSIDE)


@pytest.mark.parametrize("gateway", [NONE, WORKING, BROKEN])
@pytest.mark.parametrize("allowed", [OFF, ON])
@pytest.mark.parametrize(("address", "rule"), [(PRIMARY, Rule.PRIMARY), (ALIAS, Rule.OWN_ALIAS)])
def test_own_addresses_leave_by_our_servers_as_themselves(allowed, gateway, address, rule):
    """Even where somebody once added the same address as an outside one, with a gateway."""
    account = AccountSnapshot(PRIMARY, frozenset({ALIAS}), {address: verified(gateway)})
    answer = decide(account, address, AppliedSettings(allowed, "", 0, RELAY))
    assert isinstance(answer, Route)
    assert (answer.kind, answer.server) == (RouteKind.DEFAULT, RELAY)
    assert (answer.envelope_sender, answer.sender) == (address, "")
    assert answer.credential_id is None
    assert answer.explanation.rule == rule


@pytest.mark.parametrize(
    ("allowed", "gateway", "rule"),
    [
        (OFF, NONE, Rule.NO_GATEWAY),
        (ON, NONE, Rule.NO_GATEWAY),
        (OFF, WORKING, Rule.GATEWAY_OFF),
        (OFF, BROKEN, Rule.GATEWAY_OFF),
        (OFF, WIPED, Rule.GATEWAY_OFF),
    ],
)
def test_without_a_gateway_in_force_our_servers_say_on_whose_behalf(allowed, gateway, rule):
    answer = ask(OUTSIDE, allowed=allowed, outside=verified(gateway))
    assert isinstance(answer, Route)
    assert (answer.kind, answer.server) == (RouteKind.DEFAULT, RELAY)
    assert answer.envelope_sender == answer.sender == PRIMARY
    assert answer.credential_id is None  # kept, unused, and never tried
    assert answer.explanation.rule == rule


def test_a_working_gateway_in_force_carries_it_alone():
    answer = ask(OUTSIDE, allowed=ON, outside=verified(WORKING))
    assert isinstance(answer, Route)
    assert (answer.kind, answer.server) == (RouteKind.GATEWAY, PARTNER)
    assert (answer.envelope_sender, answer.sender) == (OUTSIDE, "")
    assert answer.credential_id == CREDENTIAL
    assert answer.explanation.rule == Rule.GATEWAY


def test_a_broken_gateway_in_force_refuses_rather_than_taking_another_server():
    answer = ask(OUTSIDE, allowed=ON, outside=verified(BROKEN))
    assert isinstance(answer, Refusal)
    assert "smtp.partner.example" in answer.reply.text
    assert "Nothing was sent" in answer.reply.text
    assert answer.explanation.rule == Rule.GATEWAY_BROKEN


OUTBOUND = OutboundGateway(
    Server("archive.yourdomain.com", 25, Security.STARTTLS), UUID(int=9), "Sales"
)


@pytest.mark.parametrize(
    ("from_address", "outside", "allowed"),
    [
        (PRIMARY, NONE, ON),
        (ALIAS, NONE, ON),
        (OUTSIDE, verified(), ON),
        (OUTSIDE, verified(WORKING), OFF),
    ],
)
def test_what_our_servers_carry_leaves_by_the_outbound_gateway(from_address, outside, allowed):
    answer = ask(from_address, outside=outside, allowed=allowed, outbound=OUTBOUND)
    without = ask(from_address, outside=outside, allowed=allowed)
    assert (answer.kind, answer.server) == (RouteKind.DEFAULT, OUTBOUND.server)
    assert (answer.credential_id, answer.is_relay) == (UUID(int=9), False)
    assert (without.credential_id, without.is_relay) == (None, True)
    assert (answer.envelope_sender, answer.sender) == (without.envelope_sender, without.sender)
    assert explain(answer.explanation).endswith(" It leaves by the outbound gateway of Sales.")


def test_mail_through_an_own_server_never_passes_the_outbound_gateway():
    answer = ask(OUTSIDE, outside=verified(WORKING), allowed=ON, outbound=OUTBOUND)
    assert answer == ask(OUTSIDE, outside=verified(WORKING), allowed=ON)
    assert answer.server == PARTNER


FORBIDDING = [
    Guardrails(servers=Patterns(("*.other.example",))),
    Guardrails(servers=Patterns(denied=("*.partner.example",))),
    Guardrails(domains=Patterns(denied=("partner.example",))),
    Guardrails(ports=frozenset({465})),
    Guardrails(tls_from_start=True),
]
PERMITTING = [
    Guardrails(servers=Patterns(("*.partner.example",), ("x.partner.example",))),
    Guardrails(domains=Patterns(("partner.example",))),
    Guardrails(ports=frozenset({465, 587})),
    Guardrails(least_tls="1.3", needs_approval=True),
]


@pytest.mark.parametrize("gateway", [WORKING, BROKEN])
@pytest.mark.parametrize("allowed", [OFF, ON])
@pytest.mark.parametrize("guardrails", FORBIDDING)
def test_what_a_guardrail_forbids_leaves_by_our_servers_on_behalf(guardrails, allowed, gateway):
    answer = ask(OUTSIDE, allowed=allowed, outside=verified(gateway), guardrails=guardrails)
    assert isinstance(answer, Route)
    assert (answer.kind, answer.server) == (RouteKind.DEFAULT, RELAY)
    assert answer.envelope_sender == answer.sender == PRIMARY
    assert answer.credential_id is None
    assert answer.explanation.rule == (Rule.GATEWAY_FORBIDDEN if allowed else Rule.GATEWAY_OFF)


@pytest.mark.parametrize("guardrails", PERMITTING)
def test_what_no_guardrail_forbids_goes_as_without_them(guardrails):
    answer = ask(OUTSIDE, allowed=ON, outside=verified(WORKING), guardrails=guardrails)
    assert isinstance(answer, Route)
    assert (answer.kind, answer.credential_id) == (RouteKind.GATEWAY, CREDENTIAL)
    assert answer.least_tls == guardrails.least_tls


@pytest.mark.parametrize(
    ("approval", "needed", "rule"),
    [
        (Approval.NOT_NEEDED, True, Rule.GATEWAY),
        (Approval.APPROVED, True, Rule.GATEWAY),
        (Approval.WAITING, False, Rule.GATEWAY),
        (Approval.WAITING, True, Rule.GATEWAY_WAITS),
        (Approval.REFUSED, True, Rule.GATEWAY_UNAPPROVED),
        (Approval.REFUSED, False, Rule.GATEWAY_UNAPPROVED),
    ],
)
def test_a_gateway_is_used_once_it_is_approved(approval, needed, rule):
    gateway = Gateway(PARTNER, CREDENTIAL, approval=approval)
    guardrails = Guardrails(needs_approval=needed)
    answer = ask(OUTSIDE, allowed=ON, outside=verified(gateway), guardrails=guardrails)
    assert isinstance(answer, Route)
    assert answer.explanation.rule == rule
    assert (answer.kind == RouteKind.GATEWAY) == (rule == Rule.GATEWAY)


def test_a_guardrail_that_decided_is_named_with_its_unit_and_version():
    guardrails = Guardrails(
        ports=frozenset({465}), deciders={Guardrail.CONNECTION: Decider("Partner desk", 9)}
    )
    told = ask(OUTSIDE, allowed=ON, outside=verified(WORKING), guardrails=guardrails).explanation
    assert (told.guardrail, told.deciding_unit, told.version) == ("connection", "Partner desk", 9)
    assert explain(told.as_json()) == (
        "The address has its own server, but the guardrail “Ports and encryption” for Partner desk "
        "does not let it be used."
    )


def test_the_explanation_names_unit_version_and_cohort():
    answer = ask(OUTSIDE, allowed=ON, outside=verified(WORKING))
    assert answer.explanation.as_json() == {
        "rule": "gateway",
        "gateways_allowed": True,
        "deciding_unit": "Sales",
        "version": 3,
        "unit": "yourdomain.com › Sales",
        "cohort": 5,
        "guardrail": "",
        "outbound": "",
    }


@pytest.mark.parametrize("choice", GatewayFailure)
def test_the_units_choice_holds_for_a_broken_gateway_only(choice):
    for outside, allowed in ((verified(), ON), (verified(BROKEN), OFF)):
        answer = ask(OUTSIDE, allowed=allowed, outside=outside, on_failure=choice)
        assert isinstance(answer, Route)
        assert (answer.kind, answer.may_wait, answer.instead) == (RouteKind.DEFAULT, False, None)


def test_held_a_broken_gateways_mail_may_wait():
    answer = ask(OUTSIDE, allowed=ON, outside=verified(BROKEN), on_failure=GatewayFailure.HOLD)
    assert isinstance(answer, Refusal)
    assert answer.may_wait
    assert answer.credential_id == CREDENTIAL
    works = ask(OUTSIDE, allowed=ON, outside=verified(WORKING), on_failure=GatewayFailure.HOLD)
    assert isinstance(works, Route)
    assert works.may_wait


def test_by_our_servers_instead_the_broken_gateways_mail_says_on_whose_behalf():
    choice = GatewayFailure.OUR_SERVERS
    broken = ask(OUTSIDE, allowed=ON, outside=verified(BROKEN), on_failure=choice)
    assert isinstance(broken, Route)
    assert (broken.server, broken.envelope_sender, broken.sender) == (RELAY, PRIMARY, PRIMARY)
    assert broken.explanation.rule == Rule.OUR_SERVERS_INSTEAD
    works = ask(OUTSIDE, allowed=ON, outside=verified(WORKING), on_failure=choice)
    assert isinstance(works, Route)
    assert works.server == PARTNER
    assert works.instead == broken
    assert works.permits(broken)
    assert not broken.permits(works)


def test_a_way_is_the_same_whatever_explains_it():
    one = ask(OUTSIDE, allowed=ON, outside=verified(WORKING))
    assert isinstance(one, Route)
    assert one.permits(replace(one, explanation=replace(one.explanation, version=9)))
    assert not one.permits(replace(one, credential_id=UUID(int=8)))
    assert not one.permits(replace(one, sender=PRIMARY))

"""Guardrails: what each unit says, merged for an account, and which words are refused."""

import pytest
from django.core.exceptions import ValidationError

from accounts.services.audit import Actor
from policies.guardrails import (
    MOST_PATTERNS,
    NO_GUARDRAILS,
    Guardrail,
    Guardrails,
    Patterns,
    check_guardrails,
    clean_pattern,
    clean_patterns,
    loosened,
    merge,
)
from policies.models import PolicyChange, Setting
from policies.services import applied_guardrails, change_policy, inherited_guardrails, undo
from tests.policies.rows import MINUTES, apply_due, let_pass

GUARDRAILS = Setting.GATEWAY_GUARDRAILS
PARTNERS = {"servers": {"allowed": ["*.partner.example"], "denied": []}}
FEW = {"addresses": {"most": 2}}


def save(admin, unit, value, based_on=0):
    return change_policy(
        actor=Actor(admin), unit=unit, setting=GUARDRAILS, value=value, based_on=based_on
    )


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("smtp.partner.example", "smtp.partner.example", True),
        ("smtp.partner.example", "smtp.partner.example.net", False),
        ("smtp.partner.example", "x.smtp.partner.example", False),
        ("*.partner.example", "smtp.partner.example", True),
        ("*.partner.example", "a.b.partner.example", True),
        ("*.partner.example", "partner.example", False),
        ("*.partner.example", "notpartner.example", False),
        ("192.0.2.7", "192.0.2.7", True),
    ],
)
def test_a_name_matches_itself_and_a_wildcard_all_below(pattern, name, matches):
    assert Patterns(allowed=(pattern,)).permit(name) == matches
    assert Patterns(denied=(pattern,)).permit(name) != matches


def test_what_is_denied_is_so_even_if_it_is_allowed_as_well():
    patterns = Patterns(("*.partner.example",), ("old.partner.example",))
    assert patterns.permit("smtp.partner.example")
    assert not patterns.permit("old.partner.example")
    assert Patterns().permit("anything.example")


def names(*allowed, denied=()):
    return {"allowed": list(allowed), "denied": list(denied)}


def connection(*ports, least_tls="1.2", tls_from_start=False):
    return {"ports": list(ports), "least_tls": least_tls, "tls_from_start": tls_from_start}


@pytest.mark.parametrize(
    ("guardrail", "above", "own", "is_looser"),
    [
        ("servers", names("a.example"), names("a.example"), False),
        ("servers", names("a.example"), names("a.example", "b.example"), True),
        ("servers", names("a.example"), names(), True),
        ("servers", names("a.example"), names(denied=["b.example"]), True),
        ("servers", names("*.example"), names("a.example", "*.b.example"), False),
        ("servers", names("*.b.example"), names("*.example"), True),
        ("servers", names("*.b.example"), names("b.example"), True),
        ("servers", names("a.example"), names("b.example", denied=["*.example"]), False),
        ("servers", names(denied=["a.example"]), names(), True),
        ("servers", names(denied=["a.example"]), names(denied=["*.example"]), False),
        ("servers", names(denied=["*.example"]), names(denied=["a.example"]), True),
        ("servers", names(denied=["a.example"]), names("b.example"), False),
        ("servers", names(denied=["a.example"]), names("*.example"), True),
        ("servers", names(denied=["a.example"]), names("*.example", denied=["a.example"]), False),
        ("servers", names(denied=["*.example"]), names("a.example"), True),
        ("domains", names("a.example"), names("b.example"), True),
        ("domains", names(), names("b.example"), False),
        ("connection", connection(465), connection(465), False),
        ("connection", connection(465, 587), connection(465, least_tls="1.3"), False),
        ("connection", connection(465), connection(465, 587), True),
        ("connection", connection(465), connection(), True),
        ("connection", connection(least_tls="1.3"), connection(465), True),
        ("connection", connection(tls_from_start=True), connection(465), True),
        ("addresses", {"most": 3}, {"most": 3}, False),
        ("addresses", {"most": 3}, {"most": 4}, True),
        ("recipients", {"per_hour": 9, "per_day": 9}, {"per_hour": 9, "per_day": 5}, False),
        ("recipients", {"per_hour": 9, "per_day": 9}, {"per_hour": None, "per_day": 9}, True),
        ("recipients", {"per_hour": None, "per_day": 9}, {"per_hour": 501, "per_day": 9}, True),
        ("recipients", {"per_hour": None, "per_day": 9}, {"per_hour": 500, "per_day": 9}, False),
        ("approval", {"needed": True}, {"needed": False}, True),
        ("approval", {"needed": False}, {"needed": True}, False),
    ],
)
def test_a_value_is_looser_where_it_permits_what_a_unit_above_forbids(
    guardrail, above, own, is_looser
):
    demanded = merge([("Sales", 1, {guardrail: above})])
    assert loosened({guardrail: own}, demanded) == [guardrail] * is_looser
    assert loosened({}, demanded) == []
    assert loosened({guardrail: own}, NO_GUARDRAILS) == []


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" SMTP.Partner.Example. ", "smtp.partner.example"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"),
        ("*.example", "*.example"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_a_pattern_is_kept_as_names_are_compared(typed, kept):
    assert clean_pattern(typed, literals=True) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "*", "*.", "**.example", "*example", "smtp.*.example", "a b", "https://a.example", "a..b",
        "-a.example", "a.example:587", "a@b.example", "*.192.0.2.7", "127.1", "ⓛocalhost", "*.*.b",
    ],
)  # fmt: skip
def test_a_malformed_pattern_is_refused_with_what_to_write(typed):
    with pytest.raises(ValidationError) as refused:
        clean_patterns(["good.example", typed], literals=True)
    assert refused.value.messages == [
        (
            f"“{typed}” is no name. Write one on each line: mail.partner.example for that one, or "
            "*.partner.example for all below it."
        )
    ]


def test_a_domain_is_no_ip_address():
    with pytest.raises(ValidationError):
        clean_pattern("192.0.2.7", literals=False)


def test_there_is_an_end_to_a_list():
    with pytest.raises(ValidationError, match="500 at most"):
        clean_patterns([f"a{number}.example" for number in range(MOST_PATTERNS + 1)], literals=True)


@pytest.mark.parametrize(
    "value",
    [
        {"nonsense": {}},
        {"servers": {"allowed": []}},
        {"servers": {"allowed": ["*"], "denied": []}},
        {"servers": {"allowed": ["UPPER.example"], "denied": []}},
        {"servers": {"allowed": "a.example", "denied": []}},
        {"addresses": {"most": 100}},
        {"addresses": {"most": True}},
        {"recipients": {"per_hour": 0, "per_day": None}},
        {"connection": {"ports": [0], "least_tls": "1.2", "tls_from_start": False}},
        {"connection": {"ports": [], "least_tls": "1.0", "tls_from_start": False}},
        {"approval": {"needed": 1}},
    ],
)
def test_a_value_that_no_form_made_is_never_saved(value, super_admin, organisation):
    with pytest.raises(ValueError, match="Not a"):
        save(super_admin, organisation.sales, value)
    assert not PolicyChange.objects.exists()


def test_the_whole_value_of_any_guardrails_can_be_saved_and_says_the_same():
    value = {
        "servers": {"allowed": ["*.a.example"], "denied": ["b.a.example"]},
        "domains": {"allowed": [], "denied": ["c.example"]},
        "connection": {"ports": [465, 587], "least_tls": "1.3", "tls_from_start": True},
        "addresses": {"most": 0},
        "recipients": {"per_hour": 5, "per_day": None},
        "approval": {"needed": True},
    }
    check_guardrails(value)
    check_guardrails(NO_GUARDRAILS.as_value())
    assert merge([("Sales", 3, value)]).as_value() == value


def test_each_is_inherited_by_itself_and_overridden_as_a_whole():
    merged = merge(
        [
            ("Top", 4, {**PARTNERS, **FEW, "approval": {"needed": True}}),
            ("Sales", 2, {"addresses": {"most": 9}}),
            ("Desk", 7, {"servers": {"allowed": [], "denied": ["x.example"]}}),
        ]
    )
    assert merged.servers == Patterns((), ("x.example",))
    assert (merged.most_addresses, merged.needs_approval) == (9, True)
    assert [merged.decider(each) for each in (Guardrail.SERVERS, Guardrail.ADDRESSES)] == [
        ("Desk", 7), ("Sales", 2),
    ]  # fmt: skip
    assert merged.decider(Guardrail.APPROVAL) == ("Top", 4)
    assert merged.decider(Guardrail.DOMAINS) == ("", 0)


@pytest.mark.parametrize(
    ("guardrails", "forbidden"),
    [
        (NO_GUARDRAILS, None),
        (Guardrails(domains=Patterns(denied=("*.example", "p.example"))), Guardrail.DOMAINS),
        (Guardrails(servers=Patterns(("smtp.p.example",))), None),
        (Guardrails(servers=Patterns(denied=("*.p.example",))), Guardrail.SERVERS),
        (Guardrails(ports=frozenset({465})), Guardrail.CONNECTION),
        (Guardrails(ports=frozenset({465, 587})), None),
        (Guardrails(tls_from_start=True), Guardrail.CONNECTION),
    ],
)
def test_which_guardrail_forbids_a_server(guardrails, forbidden):
    about = {"domain": "p.example", "host": "SMTP.p.example", "port": 587, "security": "starttls"}
    assert guardrails.forbidding(**about) == forbidden


def test_they_roll_out_and_are_undone_like_any_setting(super_admin, owner, organisation):
    save(super_admin, organisation.root, FEW)
    change = save(super_admin, organisation.sales, PARTNERS)
    assert applied_guardrails(owner.unit.path, owner.cohort) == NO_GUARDRAILS
    let_pass(60 * MINUTES)
    apply_due()
    holds = applied_guardrails(owner.unit.path, owner.cohort)
    assert (holds.most_addresses, holds.servers.allowed) == (2, ("*.partner.example",))
    assert inherited_guardrails(organisation.sales).servers == Patterns()
    undo(actor=Actor(super_admin), change=change, based_on=0)
    apply_due()
    holds = applied_guardrails(owner.unit.path, owner.cohort)
    assert (holds.most_addresses, holds.servers) == (2, Patterns())

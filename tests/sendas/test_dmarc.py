"""What a domain tells receivers about mail in its name, from a real DNS server."""

import asyncio

import pytest

from sendas.dmarc import Dmarc, Policy, look_up_dmarc, parse_record
from sendas.dns_records import Unanswered

DOMAIN = "mail.partner.example"


def dmarc(domain: str = DOMAIN) -> Dmarc:
    return asyncio.run(look_up_dmarc(domain))


def names_asked(dns) -> list[str]:
    return sorted({name.removeprefix("_dmarc.").removesuffix(".") for name, _kind in dns.asked})


def test_without_any_record(dns):
    assert dmarc() == Dmarc(Policy.ABSENT, DOMAIN)


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        ("v=DMARC1; p=none", "none"),
        ("v=DMARC1; p=quarantine; rua=mailto:x@partner.example", "quarantine"),
        ("v=DMARC1;p=reject", "reject"),
        (" v = DMARC1 ;; P = Reject ; ", "reject"),
        ("v=DMARC1; p=reject; sp=none", "reject"),
        ("v=DMARC1; p=reject; p=none", "reject"),
        ("v=DMARC1; p=reject; t=y", "quarantine"),
        ("v=DMARC1; p=quarantine; t=y", "none"),
        ("v=DMARC1; p=none; t=y", "none"),
        ("v=DMARC1; p=reject; t=n", "reject"),
        ("v=DMARC1; p=block", "none"),
        ("v=DMARC1; rua=mailto:x@partner.example", "none"),
        ("v=DMARC1", "none"),
        ("p=reject; v=DMARC1", "absent"),
        ("v=dmarc1; p=reject", "absent"),
        ("v=spf1 -all", "absent"),
        ("", "absent"),
    ],
)
def test_the_policy_of_the_domains_own_record(dns, record, policy):
    dns.say(f"_dmarc.{DOMAIN}", "TXT", record)
    assert dmarc().policy == policy


def test_of_two_records_none_counts(dns):
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=reject", "v=DMARC1; p=none")
    assert dmarc().policy == Policy.ABSENT


def test_records_of_another_kind_do_not_disturb(dns):
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "hello", "v=DMARC1; p=reject")
    assert dmarc().policy == Policy.REJECT


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        ("v=DMARC1; p=reject", "reject"),
        ("v=DMARC1; p=reject; sp=none", "none"),
        ("v=DMARC1; p=none; sp=quarantine", "quarantine"),
        ("v=DMARC1; p=reject; sp=nonsense", "reject"),
        ("v=DMARC1; p=none; np=reject", "none"),
    ],
)
def test_a_subdomain_follows_the_record_above(dns, record, policy):
    dns.say("_dmarc.partner.example", "TXT", record)
    assert dmarc() == Dmarc(Policy(policy), "partner.example")


def test_alignment(dns):
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=reject; aspf=s; adkim=s")
    assert (dmarc().strict_spf, dmarc().strict_dkim) == (True, True)
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=reject; aspf=r; adkim=what")
    assert (dmarc().strict_spf, dmarc().strict_dkim) == (False, False)


def test_the_shortest_name_with_a_record_is_the_organisations(dns):
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=none")
    dns.say("_dmarc.partner.example", "TXT", "v=DMARC1; p=reject")
    assert dmarc() == Dmarc(Policy.NONE, "partner.example")


def test_a_domain_can_say_that_it_stands_for_itself(dns):
    dns.say(f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=none; psd=n")
    dns.say("_dmarc.partner.example", "TXT", "v=DMARC1; p=reject")
    assert dmarc() == Dmarc(Policy.NONE, DOMAIN)


def test_a_suffix_under_which_everybody_registers(dns):
    dns.say("_dmarc.example", "TXT", "v=DMARC1; p=reject; sp=quarantine; psd=y")
    assert dmarc() == Dmarc(Policy.QUARANTINE, "partner.example")
    assert dmarc("partner.example") == Dmarc(Policy.QUARANTINE, "partner.example")
    dns.say("_dmarc.partner.example", "TXT", "v=DMARC1; p=none")
    assert dmarc() == Dmarc(Policy.NONE, "partner.example")


def test_no_more_than_eight_questions(dns):
    dmarc("a.b.c.d.e.f.g.h.i.example")
    assert len(names_asked(dns)) == 8
    assert "a.b.c.d.e.f.g.h.i.example" in names_asked(dns)
    assert "d.e.f.g.h.i.example" in names_asked(dns)
    assert "c.d.e.f.g.h.i.example" not in names_asked(dns)
    dns.asked.clear()
    dmarc("a.b.c.d.e.f.g.example")
    assert len(names_asked(dns)) == 8


def test_no_answer_is_not_the_same_as_no_record(dns):
    dns.broken = True
    with pytest.raises(Unanswered):
        dmarc()


def test_a_record_is_joined_from_its_strings(dns):
    dns.records[f"_dmarc.{DOMAIN}.", "TXT"] = ['"v=DMARC1; p=rej" "ect"']
    assert dmarc().policy == Policy.REJECT


def test_what_is_written_is_kept_in_lower_case():
    assert parse_record("v=DMARC1; P=Reject; ASPF=S") == {"v": "dmarc1", "p": "reject", "aspf": "s"}

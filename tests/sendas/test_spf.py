"""What a domain's SPF record says of a server, from a real DNS server."""

import asyncio

import pytest

from sendas.dns_records import Unanswered
from sendas.spf import SpfResult, check_addresses, check_server

DOMAIN = "partner.example"
HOST = "smtp.partner.example"
# Public ones, for no other can be a sender's; they are only compared.
NAMED, OTHER, NAMED_V6 = "93.184.216.34", "93.184.216.35", "2606:2800:21f::1"


def spf(*, address: str = NAMED, seconds: float = 10) -> str:
    return asyncio.run(check_addresses(DOMAIN, [address], seconds=seconds))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:93.184.216.34 -all", "pass"),
        ("v=spf1 ip4:93.184.216.0/24 -all", "pass"),
        ("v=spf1 ip4:93.184.216.99 -all", "fail"),
        ("v=spf1 ip4:93.184.216.99 ~all", "softfail"),
        ("v=spf1 ip4:93.184.216.99 ?all", "neutral"),
        ("v=spf1 ip4:93.184.216.99", "neutral"),
        ("v=spf1 ip4:93.184.216.999 -all", "permerror"),
        ("v=spf1 wrong:word -all", "permerror"),
        ("v=spf2.0/pra -all", "none"),
        ("something else", "none"),
    ],
)
def test_each_result(dns, record, expected):
    dns.say(DOMAIN, "TXT", record)
    assert spf() == expected


def test_without_any_record(dns):
    assert spf() == "none"


def test_two_records_are_a_mistake(dns):
    dns.say(DOMAIN, "TXT", "v=spf1 -all", "v=spf1 ip4:93.184.216.34 -all")
    assert spf() == "permerror"


def test_mechanisms_that_ask_further(dns):
    dns.say(DOMAIN, "TXT", "v=spf1 mx a:out.partner.example include:_spf.partner.example -all")
    dns.say(DOMAIN, "MX", "10 mx.partner.example.")
    dns.say("mx.partner.example", "A", "93.184.216.1")
    dns.say("out.partner.example", "A", "93.184.216.2")
    dns.say("_spf.partner.example", "TXT", "v=spf1 ip4:93.184.216.3 -all")
    for last in "123":
        assert spf(address=f"93.184.216.{last}") == "pass"
    assert spf(address="93.184.216.4") == "fail"


def test_another_domains_record(dns):
    dns.say(DOMAIN, "TXT", "v=spf1 redirect=_spf.provider.example")
    dns.say("_spf.provider.example", "TXT", "v=spf1 ip4:93.184.216.34 -all")
    assert (spf(), spf(address=OTHER)) == ("pass", "fail")


def test_a_record_that_includes_itself_ends(dns):
    dns.say(DOMAIN, "TXT", f"v=spf1 include:{DOMAIN} -all")
    assert spf() == "permerror"
    assert len(dns.asked) <= 12


def test_two_records_that_include_each_other_end(dns):
    dns.say(DOMAIN, "TXT", "v=spf1 include:b.example -all")
    dns.say("b.example", "TXT", f"v=spf1 include:{DOMAIN} -all")
    assert spf() == "permerror"
    assert len(dns.asked) <= 12


def test_ten_further_questions_are_allowed_and_no_more(dns):
    for number in range(11):
        dns.say(f"i{number}.example", "TXT", "v=spf1 ip4:93.184.216.99 ?all")
    for count, expected in ((10, "pass"), (11, "permerror")):
        includes = " ".join(f"include:i{number}.example" for number in range(count))
        dns.say(DOMAIN, "TXT", f"v=spf1 {includes} ip4:{NAMED} -all")
        assert spf() == expected


def test_two_names_that_lead_nowhere_are_allowed_and_no_more(dns):
    for count, expected in ((2, "pass"), (3, "permerror")):
        names = " ".join(f"a:none{number}.example" for number in range(count))
        dns.say(DOMAIN, "TXT", f"v=spf1 {names} ip4:{NAMED} -all")
        assert spf() == expected


def test_a_question_without_answer_is_no_verdict(dns):
    dns.say(DOMAIN, "TXT", "v=spf1 include:broken.example -all")
    dns.broken_names = {"broken.example."}
    assert spf() == "temperror"


def test_the_whole_takes_no_longer_than_it_may(dns):
    dns.silent = True
    assert spf(seconds=0.3) == "temperror"


def test_names_inside_can_not_be_asked_for_by_a_strangers_record(dns):
    dns.say("intranet.yourdomain.example", "A", "10.1.2.3")
    dns.say(DOMAIN, "TXT", "v=spf1 exists:intranet.yourdomain.example -all")
    assert spf() == "fail"
    dns.say("93.184.216.34.list.example", "A", "127.0.0.2")
    dns.say(DOMAIN, "TXT", "v=spf1 exists:%{i}.list.example -all")
    assert spf() == "pass"


def server(host: str = HOST) -> SpfResult:
    return asyncio.run(check_server(DOMAIN, host, seconds=10))


def test_each_address_of_a_server_must_be_named(dns):
    dns.say(HOST, "A", NAMED)
    dns.say(HOST, "AAAA", NAMED_V6)
    dns.say(DOMAIN, "TXT", f"v=spf1 ip4:{NAMED} ip6:{NAMED_V6} -all")
    assert server() == "pass"
    dns.say(DOMAIN, "TXT", f"v=spf1 ip4:{NAMED} -all")
    assert server() == "fail"


@pytest.mark.parametrize("inside", [["10.1.2.3"], [NAMED, "192.168.1.1"], ["127.0.0.1"]])
def test_of_a_server_inside_nothing_is_told(dns, inside):
    dns.say(DOMAIN, "TXT", "v=spf1 ip4:10.1.2.3 -all")
    assert server() == "no address"
    dns.say(HOST, "A", *inside)
    assert server() == "no address"


def test_a_servers_name_in_other_letters(dns):
    dns.say("xn--postbro-r2a.partner.example", "A", NAMED)
    dns.say(DOMAIN, "TXT", f"v=spf1 ip4:{NAMED} -all")
    assert server("postbüro.partner.example") == "pass"
    assert server("no name") == "no address"


def test_a_server_whose_address_nobody_tells(dns):
    dns.broken = True
    with pytest.raises(Unanswered):
        server()

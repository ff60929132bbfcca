"""Both routes of an address, judged by what is known of its domain, in one sentence each."""

import pytest

from sendas.models import MailDomain
from sendas.services.acceptance import Question, judge
from tests.sendas.conftest import know_domain

DOMAIN, HOST = "partnerdomain.com", "smtp.partnerdomain.com"
ADDRESS, PRIMARY = f"user.name@{DOMAIN}", "user@yourdomain.com"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def asking(settings):
    settings.OUTGATE_FIND_SETTINGS = True


def own_server(host: str = HOST):
    return judge([Question(ADDRESS, PRIMARY, host)])[0].own_server


def our_servers():
    return judge([Question(ADDRESS, PRIMARY)])[0].our_servers


def test_before_anything_is_known():
    for judgement in (own_server(), our_servers()):
        assert judgement.kind == "unknown"
        assert "partnerdomain.com has not told its rules" in judgement.text


def test_where_nobody_is_asked_nothing_is_said(settings):
    settings.OUTGATE_FIND_SETTINGS = False
    assert (own_server(), our_servers()) == (None, None)


@pytest.mark.parametrize(
    ("policy", "kind", "words"),
    [
        ("absent", "ok", "does not ask receivers to refuse anything"),
        ("none", "ok", "does not ask receivers to refuse anything"),
        ("quarantine", "warn", "tells receivers to treat mail as suspicious"),
        ("reject", "bad", "partnerdomain.com tells receivers to reject mail"),
    ],
)
def test_our_servers_by_the_policy(policy, kind, words):
    know_domain(policy=policy)
    judgement = our_servers()
    assert judgement.kind == kind
    assert words in judgement.text


@pytest.mark.parametrize("policy", ["absent", "none", "quarantine", "reject"])
def test_an_own_server_that_is_named_is_expected_to_do(policy):
    know_domain(policy=policy, spf={HOST: "pass"})
    assert own_server().kind == "ok"
    assert "names smtp.partnerdomain.com as a server" in own_server().text
    assert own_server(host="other.example").text != own_server().text


@pytest.mark.parametrize("result", ["fail", "softfail", "neutral", "none", "no address"])
def test_an_own_server_that_is_not_named_may_still_send_by_others(result):
    know_domain(policy="none", spf={HOST: result})
    assert own_server().kind == "ok"
    MailDomain.objects.update(policy="reject")
    assert own_server().kind == "unknown"
    assert "checked strictly" in own_server().text


def test_a_mistake_in_the_record_is_told():
    know_domain(policy="none", spf={HOST: "permerror"})
    assert own_server().kind == "warn"
    assert "has a mistake" in own_server().text


def test_before_the_server_is_known():
    know_domain(policy="reject")
    assert own_server(host="").kind == "unknown"
    MailDomain.objects.update(policy="absent")
    assert own_server(host="").kind == "ok"


@pytest.mark.parametrize("result", ["fail", "softfail", "permerror"])
def test_our_own_record_counts_for_our_servers(result):
    know_domain(policy="none")
    know_domain("yourdomain.com", policy="none", spf={"": result})
    assert our_servers().kind == "warn"
    assert "yourdomain.com does not name our servers" in our_servers().text
    MailDomain.objects.filter(name="yourdomain.com").update(spf={"": "pass"})
    assert our_servers().kind == "ok"


def test_domains_of_one_organisation_vouch_for_each_other():
    know_domain(policy="reject", organisational_domain="corp.example")
    know_domain(
        "yourdomain.com", policy="none", organisational_domain="corp.example", spf={"": "pass"}
    )
    assert our_servers().kind == "ok"
    assert "belongs together with yourdomain.com" in our_servers().text
    MailDomain.objects.filter(name="yourdomain.com").update(spf={})
    assert our_servers().kind == "unknown"


@pytest.mark.parametrize(
    ("strict_spf", "strict_dkim", "kind"),
    [(False, False, "ok"), (False, True, "ok"), (True, False, "unknown"), (True, True, "bad")],
)
def test_strict_alignment_lets_no_other_domain_vouch(strict_spf, strict_dkim, kind):
    know_domain(
        policy="reject",
        organisational_domain="corp.example",
        strict_spf=strict_spf,
        strict_dkim=strict_dkim,
    )
    know_domain(
        "yourdomain.com", policy="none", organisational_domain="corp.example", spf={"": "pass"}
    )
    assert our_servers().kind == kind


def test_an_address_in_the_own_domain_is_not_judged():
    know_domain("yourdomain.com", policy="reject")
    assert judge([Question("colleague@yourdomain.com", PRIMARY)]) == [(None, None)]


def test_another_own_domain_is_judged_like_any_other():
    know_domain("second.example", policy="reject")
    know_domain("yourdomain.com", policy="none", spf={"": "pass"})
    judged = judge([Question("colleague@second.example", PRIMARY)])[0]
    assert judged.our_servers.kind == "bad"


def test_many_addresses_cost_one_query(django_assert_num_queries):
    know_domain(policy="reject")
    know_domain("b.example", policy="none")
    questions = [Question(f"{n}@{d}", PRIMARY) for n in range(9) for d in (DOMAIN, "b.example")]
    with django_assert_num_queries(1):
        judged = judge(questions)
    assert [each.our_servers.kind for each in judged] == ["bad", "ok"] * 9

import pytest
from django.db.models.functions import Now

from sendas.models import MailDomain, SendAs, SmtpMsa
from tests.sendas.conftest import know_domain
from tests.support import assert_only_to_be_read, count_queries, page_of, read

CIPHERTEXT = b"canary ciphertext"


def make_address(user, number=0):
    send_as = SendAs.objects.create(
        user=user,
        send_as_email=f"user.name{number}@partnerdomain.com",
        verification_status=SendAs.VerificationStatus.ACCEPTED,
    )
    SmtpMsa.objects.create(
        send_as=send_as,
        host="smtp.partnerdomain.com",
        port=587,
        security_mode="starttls",
        username="login-name",
        key_id="canary-key",
        ciphertext=CIPHERTEXT,
        refused_at=Now(),
        refusal="535 5.7.8 Wrong user name or password",
    )
    return send_as


@pytest.fixture
def address(owner):
    return make_address(owner)


@pytest.mark.parametrize("role", ["support", "super_admin"])
def test_support_sees_the_server_and_nothing_of_its_credential(client, role, request, address):
    client.force_login(request.getfixturevalue(role))
    html = assert_only_to_be_read(client, address)
    assert "smtp.partnerdomain.com:587" in html
    assert "login-name" in html
    assert "535 5.7.8" in html
    for secret in ("canary", CIPHERTEXT.hex(), str(address.smtp_msa.credential_id)):
        assert secret not in html


@pytest.mark.parametrize("term", ["user.name0", "user@yourdomain.com", "smtp.partnerdomain.com"])
def test_an_address_is_found_by_itself_account_or_server(client, support, address, term):
    client.force_login(support)
    url = page_of(address, "changelist")
    assert page_of(address) in read(client, f"{url}?q={term}")
    assert page_of(address) not in read(client, f"{url}?q=nowhere")


def test_the_list_is_filtered_by_what_an_own_server_does(client, support, owner):
    stopped, works, none = (make_address(owner, number) for number in range(3))
    SmtpMsa.objects.filter(send_as=works).update(refused_at=None)
    none.smtp_msa.delete()
    client.force_login(support)
    url = page_of(stopped, "changelist")
    assert "By own server" in read(client, url)
    for value, row in {"stopped": stopped, "works": works, "none": none}.items():
        html = read(client, f"{url}?server={value}")
        assert [each for each in (stopped, works, none) if page_of(each) in html] == [row]


def test_the_list_costs_the_same_queries_with_more_rows(client, support, owner):
    client.force_login(support)
    for number in range(10):
        make_address(owner, number)
    before = count_queries(client, page_of(SendAs(), "changelist"))
    for number in range(10, 20):
        make_address(owner, number)
    assert count_queries(client, page_of(SendAs(), "changelist")) == before


def test_both_routes_of_an_address_are_judged(client, support, address):
    know_domain(policy="reject", spf={"smtp.partnerdomain.com": "pass"})
    client.force_login(support)
    html = read(client, page_of(address))
    assert "partnerdomain.com names smtp.partnerdomain.com as a server" in html
    assert "partnerdomain.com tells receivers to reject mail" in html


def test_domains_are_listed_with_what_they_tell_receivers(client, super_admin, owner):
    strict = know_domain(policy="reject", spf={"": "pass", "smtp.partnerdomain.com": "none"})
    mild = know_domain("mild.example", policy="none")
    make_address(owner)
    client.force_login(super_admin)
    html = assert_only_to_be_read(client, strict)
    assert "smtp.partnerdomain.com: none" in html
    assert "our outgoing addresses: pass" in html
    assert '<td class="field-addresses">1</td>' in html
    filtered = read(client, page_of(strict, "changelist") + "?policy__exact=reject")
    assert page_of(strict) in filtered
    assert page_of(mild) not in filtered


def test_the_list_of_domains_costs_the_same_queries_with_more_rows(client, support, owner):
    client.force_login(support)
    counts = []
    for numbers in (range(10), range(10, 20)):
        for number in numbers:
            know_domain(f"d{number}.example", policy="none")
        counts.append(count_queries(client, page_of(MailDomain(), "changelist")))
    assert counts[0] == counts[1]


def test_strangers_are_sent_away(client, stranger, address):
    client.force_login(stranger)
    assert client.get(page_of(address)).status_code in {302, 403}

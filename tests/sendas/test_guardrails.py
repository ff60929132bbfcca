"""What guardrails forbid is told before a server is contacted, and by whom."""

import re

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.services.audit import Actor
from delivery.routing import RouteKind, Rule, decide
from delivery.services import load_account, load_settings
from policies.models import AppliedPolicy, Setting
from sendas.models import Approval, SendAs, SmtpMsa
from sendas.services.addresses import (
    Details,
    add_address,
    clean_new_address,
    remove_gateway,
    set_gateway,
)
from sendas.services.approval import approve_gateway, refuse_gateway, unapproved_gateways
from sendas.services.outcomes import ConnectionTestError
from tests.sendas.conftest import PARTNER, gateway_at, make_send_as

DETAILS = Details("User Name")


def guard(user, unit, **value):
    """What a wave leaves behind for the user's cohort."""
    AppliedPolicy.objects.update_or_create(
        cohort=user.cohort,
        unit=unit,
        setting=Setting.GATEWAY_GUARDRAILS,
        defaults={"value": value, "version": 1},
    )


def add(owner, gateway):
    return add_address(
        actor=Actor(owner), user=owner, address=PARTNER, details=DETAILS, gateway=gateway
    )


def connection(ports=(), least_tls="1.2", tls_from_start=False):
    return {"ports": list(ports), "least_tls": least_tls, "tls_from_start": tls_from_start}


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        (
            {"servers": {"allowed": ["*.partner.example"], "denied": []}},
            "host",
            (
                "Your administrator (Sales) does not allow the server localhost. Allowed: "
                "*.partner.example."
            ),
        ),
        (
            {"servers": {"allowed": [], "denied": ["localhost"]}},
            "host",
            (
                "Your administrator (Sales) does not allow the server localhost. Choose “By our "
                "servers”."
            ),
        ),
        (
            {"domains": {"allowed": [], "denied": ["partnerdomain.com"]}},
            "host",
            (
                "Your administrator (Sales) allows no own server for addresses at "
                "partnerdomain.com. Choose “By our servers”."
            ),
        ),
        (
            {"connection": connection([465])},
            "port",
            "Your administrator (Sales) does not allow port 2. Allowed: 465.",
        ),
        (
            {"connection": connection(tls_from_start=True)},
            "security_mode",
            "Your administrator (Sales) wants TLS from the start. It goes with port 465.",
        ),
    ],
)
def test_a_forbidden_server_is_told_of_and_never_contacted(
    owner, allowed, organisation, value, field, words
):
    guard(owner, organisation.sales, **value)
    with pytest.raises(ConnectionTestError) as refused:
        add(owner, gateway_at(2))
    assert (refused.value.field, refused.value.text) == (field, words)
    assert refused.value.topic == "forbidden"
    assert not SendAs.objects.exists()


def test_a_permitted_server_is_tested_and_kept(owner, allowed, organisation, partner):
    guard(
        owner,
        organisation.sales,
        servers={"allowed": ["localhost"], "denied": []},
        connection=connection([partner.port], least_tls="1.3"),
    )
    assert add(owner, gateway_at(partner.port)).smtp_msa.approval == Approval.NOT_NEEDED


def test_the_list_is_as_long_as_the_unit_says(owner, organisation):
    guard(owner, organisation.sales, addresses={"most": 1})
    make_send_as(owner)
    with pytest.raises(ValidationError, match="may hold 1 outside addresses"):
        clean_new_address(owner, "second@partnerdomain.com")
    guard(owner, organisation.sales, addresses={"most": 0})
    with pytest.raises(ValidationError, match="allows no outside addresses"):
        clean_new_address(owner, "second@partnerdomain.com")


def test_the_form_as_typed_tells_the_rules_and_the_refusal(
    client, owner, allowed, organisation, open_ports
):
    guard(owner, organisation.sales, servers={"allowed": ["*.partner.example"], "denied": []})
    client.force_login(owner)
    typed = {"display_name": "User Name", "address": PARTNER}
    step2 = client.post(reverse("sendas:add"), typed)["Location"]
    assert "Servers that may be used: *.partner.example." in client.get(step2).content.decode()
    server = {
        "route": "own", "host": "smtp.other.example", "port": "587", "security_mode": "starttls",
        "username": PARTNER, "password": "secret-as-typed",
    }  # fmt: skip
    page = client.post(step2, server).content.decode()
    # Above, and in the test at the step where it ended.
    assert page.count("does not allow the server smtp.other.example") == 2
    assert 'value="smtp.other.example"' in page
    assert "secret-as-typed" not in page


# --- approval ---------------------------------------------------------------------------------


@pytest.fixture
def waiting(owner, allowed, organisation, partner) -> SmtpMsa:
    """The owner's gateway, set up while approval is needed; the address is verified."""
    guard(owner, organisation.sales, approval={"needed": True})
    send_as = make_send_as(owner)
    set_gateway(actor=Actor(owner), send_as=send_as, gateway=gateway_at(partner.port))
    return SmtpMsa.objects.get()


def answer(owner):
    return decide(load_account(owner), PARTNER, load_settings(owner))


def judge(how, admin, msa, **details):
    return how(actor=Actor(admin), msa_id=msa.pk, credential_id=msa.credential_id, **details)


def test_a_new_server_waits_and_is_used_once_it_is_approved(owner, unit_admin, waiting, mailoutbox):
    assert waiting.approval == Approval.WAITING
    assert (answer(owner).kind, answer(owner).explanation.rule) == (
        RouteKind.DEFAULT, Rule.GATEWAY_WAITS,
    )  # fmt: skip
    assert judge(approve_gateway, unit_admin, waiting)
    assert answer(owner).kind == RouteKind.GATEWAY
    assert mailoutbox[0].to == [owner.primary_address]
    assert mailoutbox[0].subject == f"localhost is approved for {PARTNER}"
    event = AuditEvent.objects.get(name="gateway_approved")
    assert (event.target, event.unit_id) == (PARTNER, owner.unit_id)
    assert not unapproved_gateways().exists()


def test_a_refused_one_is_never_used_and_the_person_reads_why(
    client, owner, unit_admin, waiting, organisation, mailoutbox
):
    with pytest.raises(ValidationError, match="Say why"):
        judge(refuse_gateway, unit_admin, waiting, reason="")
    judge(refuse_gateway, unit_admin, waiting, reason="Not one of our partners.")
    assert answer(owner).explanation.rule == Rule.GATEWAY_UNAPPROVED
    assert "Reason: Not one of our partners." in mailoutbox[0].body
    client.force_login(owner)
    page = client.get(reverse("sendas:list")).content.decode()
    assert "Your administrator refused localhost" in page
    assert "Not one of our partners." in page
    guard(owner, organisation.sales, approval={"needed": False})
    assert answer(owner).kind == RouteKind.DEFAULT


def test_without_the_guardrail_nothing_waits(owner, waiting, organisation):
    guard(owner, organisation.sales, approval={"needed": False})
    assert answer(owner).kind == RouteKind.GATEWAY


def test_servers_that_were_in_use_before_go_on(owner, allowed, organisation, partner):
    set_gateway(actor=Actor(owner), send_as=make_send_as(owner), gateway=gateway_at(partner.port))
    guard(owner, organisation.sales, approval={"needed": True})
    assert answer(owner).kind == RouteKind.GATEWAY


def test_another_password_asks_nobody_and_another_server_does(
    owner, unit_admin, waiting, partner, mailoutbox
):
    judge(approve_gateway, unit_admin, waiting)
    set_gateway(actor=Actor(owner), send_as=waiting.send_as, gateway=gateway_at(partner.port))
    assert answer(owner).kind == RouteKind.GATEWAY
    other = gateway_at(partner.port, host="127.0.0.1")
    set_gateway(actor=Actor(owner), send_as=waiting.send_as, gateway=other)
    assert answer(owner).explanation.rule == Rule.GATEWAY_WAITS
    remove_gateway(actor=Actor(owner), send_as=waiting.send_as)
    set_gateway(actor=Actor(owner), send_as=waiting.send_as, gateway=gateway_at(partner.port))
    assert SmtpMsa.objects.get().approval == Approval.WAITING


def test_what_the_administrator_did_not_see_is_not_approved(owner, unit_admin, waiting, partner):
    set_gateway(actor=Actor(owner), send_as=waiting.send_as, gateway=gateway_at(partner.port))
    with pytest.raises(ValidationError, match="changed or removed this server meanwhile"):
        judge(approve_gateway, unit_admin, waiting)
    assert SmtpMsa.objects.get().approval == Approval.WAITING


@pytest.mark.parametrize("name", ["owner", "stranger", "users_admin", "support"])
def test_only_who_has_mail_settings_there_decides(name, request, waiting):
    with pytest.raises(PermissionDenied):
        judge(approve_gateway, request.getfixturevalue(name), waiting)


def test_a_mail_that_does_not_leave_undoes_nothing(owner, unit_admin, waiting, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert not judge(approve_gateway, unit_admin, waiting)
    assert answer(owner).kind == RouteKind.GATEWAY


def test_the_page_of_the_account_says_which_guardrail_forbids_which_server(
    client, owner, allowed, organisation, partner, super_admin
):
    add(owner, gateway_at(partner.port))
    SendAs.objects.update(verification_status=SendAs.VerificationStatus.ACCEPTED)
    guard(owner, organisation.sales, servers={"allowed": [], "denied": ["localhost"]})
    client.force_login(super_admin)
    html = client.get(reverse("console:account", args=[owner.pk])).content.decode()
    assert "Own server localhost." in html
    assert "the guardrail “Servers” for Sales does not let it be used." in html


# --- told before a password is typed ------------------------------------------------------------

NEW = {"display_name": "User Name", "address": PARTNER}
RECORD = ("_submissions._tcp.partnerdomain.com.", "SRV")


def second_step(client, owner) -> str:
    client.force_login(owner)
    return client.post(reverse("sendas:add"), NEW)["Location"]


def test_a_forbidden_domain_goes_by_our_servers_and_no_password_is_asked(
    client, owner, allowed, organisation, mailoutbox
):
    guard(owner, organisation.sales, domains={"allowed": ["*.partner.example"], "denied": []})
    step2 = second_step(client, owner)
    html = client.get(step2).content.decode()
    assert (
        "Your administrator (Sales) allows no own server for addresses at partnerdomain.com. "
        "Your administrator can change this rule."
    ) in html
    assert "Mail from this address will leave by our servers" in html
    assert 'type="password"' not in html
    assert 'name="host"' not in html
    client.post(step2, {"route": "ours"})
    send_as = SendAs.objects.get()
    assert not SmtpMsa.objects.exists()
    assert len(mailoutbox) == 1
    html = client.get(reverse("sendas:edit", args=[send_as.pk])).content.decode()
    assert "allows no own server for addresses at partnerdomain.com" in html
    assert 'type="password"' not in html


def test_a_server_of_a_forbidden_domain_is_refused_all_the_same(
    client, owner, allowed, organisation, partner
):
    step2 = second_step(client, owner)
    guard(owner, organisation.sales, domains={"allowed": [], "denied": ["partnerdomain.com"]})
    typed = {"route": "own", **gateway_at(partner.port)._asdict()}
    html = client.post(step2, typed).content.decode()
    assert "allows no own server for addresses at partnerdomain.com" in html
    assert partner.tried == []
    assert not SendAs.objects.exists()


def test_a_forbidden_server_that_was_found_is_not_filled_in(
    client, owner, allowed, organisation, dns
):
    guard(owner, organisation.sales, servers={"allowed": ["*.partner.example"], "denied": []})
    dns.records[RECORD] = ["0 1 465 mail.found.example."]
    step2 = second_step(client, owner)
    html = client.get(step2).content.decode()
    assert "We found mail.found.example, port 465, which your administrator does not allow" in html
    assert "does not allow the server mail.found.example. Allowed: *.partner.example." in html
    assert 'value="mail.found.example"' not in html
    assert re.search(r'value="ours"[^>]*checked', html)
    client.post(step2, {"route": "ours"})
    edit = reverse("sendas:edit", args=[SendAs.objects.get().pk])
    html = client.post(edit, NEW | {"find": ""}).content.decode()
    assert "does not allow the server mail.found.example." in html
    assert 'value="mail.found.example"' not in html
    assert re.search(r'value="ours"[^>]*checked', html)


def test_a_forbidden_port_that_was_found_is_not_filled_in(
    client, owner, allowed, organisation, dns
):
    guard(owner, organisation.sales, connection=connection([465]))
    dns.records[RECORD[0].replace("submissions", "submission"), "SRV"] = [
        "0 1 587 mail.found.example."
    ]
    html = client.get(second_step(client, owner)).content.decode()
    assert "does not allow port 587. Allowed: 465." in html
    assert 'value="mail.found.example"' in html
    assert '<option value="465" selected>' in html
    assert '<option value="ssl" selected>' in html
    assert '<option value="587"' not in html


def test_what_is_permitted_is_filled_in_without_a_word(client, owner, allowed, organisation, dns):
    guard(owner, organisation.sales, servers={"allowed": ["*.found.example"], "denied": []})
    dns.records[RECORD] = ["0 1 465 mail.found.example."]
    html = client.get(second_step(client, owner)).content.decode()
    assert 'value="mail.found.example"' in html
    assert "which your administrator does not allow" not in html
    assert re.search(r'value="own"[^>]*checked', html)

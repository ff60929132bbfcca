import re
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, OrgUnit, User
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user
from accounts.services.roles import remove_role
from console.audit_words import line_of
from policies.guardrails import Guardrail
from policies.models import AppliedPolicy, GatewayPolicy, PolicyChange, Setting
from sendas.models import Approval, SmtpMsa
from tests.conftest import Organisation
from tests.console.rows import assert_refused, count_queries, create_units, text_of
from tests.sendas.conftest import make_send_as

UNTOUCHED = {
    **{f"{guardrail}_choice": "inherit" for guardrail in Guardrail},
    "based_on": "0",
    "reason": "",
}
AT_THE_TOP = {"connection_least_tls": "1.2", "addresses_most": "99", "based_on": "0"}
PARTNERS = {"servers": {"allowed": ["*.partner.example"], "denied": ["old.partner.example"]}}


def page_of(unit: OrgUnit) -> str:
    return reverse("console:guardrails", args=[unit.pk])


def post(client: Client, unit: OrgUnit, **fields: Any) -> HttpResponse:
    return client.post(page_of(unit), UNTOUCHED | fields)


def own(unit: OrgUnit) -> Any:
    return GatewayPolicy.objects.get(unit=unit, setting=Setting.GATEWAY_GUARDRAILS).value


def post_partners(client: Client, unit: OrgUnit, **fields: Any) -> HttpResponse:
    return post(
        client,
        unit,
        servers_choice="override",
        servers_allowed=" *.Partner.example \n\n*.partner.example",
        servers_denied="old.partner.example",
        **fields,
    )


def test_one_guardrail_is_overridden_and_the_others_stay_inherited(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    response = post_partners(client, organisation.sales, reason="Partners only")
    change = PolicyChange.objects.get()
    assert response["Location"] == f"{page_of(organisation.sales)}?saved={change.pk}"
    assert own(organisation.sales) == PARTNERS
    assert change.reason == "Partners only"
    words = text_of(client.get(response["Location"]))
    assert "Overridden here" in words
    assert "everyone has it by" in words
    below = text_of(client.get(page_of(organisation.partner_desk)))
    assert "Inherited from Sales: only *.partner.example; not old.partner.example." in below
    assert "Default (at most 99)" in below


def test_what_is_looser_than_a_unit_above_demands_is_told_before_it_is_saved_and_marked(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    top = page_of(organisation.root)
    demanded = {"servers_allowed": "*.partner.example", "addresses_most": "3"}
    assert client.post(top, AT_THE_TOP | demanded).status_code == 302
    told = "Looser than yourdomain.com demands: only *.partner.example."
    client.force_login(unit_admin)
    sales = organisation.sales
    tighter = {"servers_choice": "override", "servers_allowed": "smtp.partner.example"}
    looser = {"servers_choice": "override", "servers_allowed": "*.partner.example\nx.example"}
    assert told not in text_of(post(client, sales, **tighter, see="changes"))
    page = text_of(post(client, sales, **looser, see="changes"))
    assert page.count(told) == 2  # in its card, and among what saving changes
    assert f"Servers: {told} What is set here holds instead." in page
    fragment = client.post(
        page_of(sales), UNTOUCHED | looser | {"see": "changes"}, headers={"HX-Request": "true"}
    )
    assert told in text_of(fragment)
    assert told not in text_of(client.get(page_of(sales)))
    assert post(client, sales, **looser).status_code == 302
    assert text_of(client.get(page_of(sales))).count(told) == 1
    assert told not in text_of(client.get(page_of(organisation.partner_desk)))


def test_all_of_them_are_saved_together_at_the_top(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    typed = {
        "servers_allowed": "smtp.partner.example",
        "domains_denied": "*.rival.example",
        "connection_ports": ["465", "587"],
        "connection_least_tls": "1.3",
        "connection_tls_from_start": "on",
        "addresses_most": "5",
        "recipients_per_hour": "50",
        "approval_needed": "on",
    }
    client.post(page_of(organisation.root), AT_THE_TOP | typed)
    assert own(organisation.root) == {
        "servers": {"allowed": ["smtp.partner.example"], "denied": []},
        "domains": {"allowed": [], "denied": ["*.rival.example"]},
        "connection": {"ports": [465, 587], "least_tls": "1.3", "tls_from_start": True},
        "addresses": {"most": 5},
        "recipients": {"per_hour": 50, "per_day": None},
        "approval": {"needed": True},
    }
    client.post(page_of(organisation.root), AT_THE_TOP | {"based_on": "1"})
    assert own(organisation.root) is None
    nothing = client.post(page_of(organisation.root), AT_THE_TOP | {"based_on": "2"})
    assert "Nothing to save" in text_of(nothing)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"servers_choice": "override", "servers_allowed": "a.example\nsmtp.*.b"}, "“smtp.*.b” is"),
        ({"domains_choice": "override", "domains_denied": "user@c.example"}, "“user@c.example” is"),
        ({"addresses_choice": "override", "addresses_most": "100"}, "less than or equal to 99"),
        ({"recipients_choice": "override", "recipients_per_day": "0"}, "greater than or equal to"),
        ({"servers_allowed": "a.example"}, "Inherit is chosen, so what you typed has no effect"),
        ({"servers_choice": ""}, "Choose Inherit or Override"),
        ({"starts_at": "2020-01-01T00:00"}, "That time has passed"),
    ],
)
def test_what_cannot_be_is_refused_with_everything_as_typed(
    client: Client,
    super_admin: User,
    organisation: Organisation,
    typed: dict[str, str],
    words: str,
) -> None:
    client.force_login(super_admin)
    response = post(client, organisation.sales, reason="As typed", **typed)
    assert_refused(response, words, 'value="As typed"', *typed.values())


def test_the_second_of_two_administrators_overwrites_nothing_and_keeps_the_form(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    post_partners(client, organisation.sales)
    client.force_login(unit_admin)
    response = post(client, organisation.sales, addresses_choice="override", addresses_most="7")
    assert response.status_code == 409
    words = text_of(response)
    assert "Mina Kato changed Sales while you were here" in words
    assert "only *.partner.example; not old.partner.example" in words
    assert 'value="7"' in response.content.decode()
    assert own(organisation.sales) == PARTNERS
    again = re.search(r'name="based_on" value="(\d+)"', response.content.decode())
    assert again
    post(
        client,
        organisation.sales,
        addresses_choice="override",
        addresses_most="7",
        based_on=again[1],
    )
    assert own(organisation.sales) == {"addresses": {"most": 7}}


def test_who_lost_the_right_meanwhile_gets_no_page(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    remove_role(actor=SYSTEM, assignment=unit_admin.roles.get())
    assert post_partners(client, organisation.sales).status_code == 404
    assert not PolicyChange.objects.exists()


def test_history_and_audit_tell_what_was_set(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    post_partners(client, organisation.sales)
    change = PolicyChange.objects.get()
    rollout = text_of(client.get(reverse("console:rollout", args=[change.pk])))
    assert "Guardrails changed for Sales" in rollout
    assert "Servers: only *.partner.example; not old.partner.example" in rollout
    line = line_of(AuditEvent.objects.get(name="policy_changed"))
    assert line.new == "Servers: only *.partner.example; not old.partner.example"
    tree = text_of(client.get(page_of(organisation.root)))
    assert "1 own" in tree


def test_the_page_costs_the_same_queries_with_more_units(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    create_units(organisation.sales, "Team")
    before = count_queries(lambda: client.get(page_of(organisation.sales)))
    create_units(organisation.sales, "Group")
    assert count_queries(lambda: client.get(page_of(organisation.sales))) == before


def test_the_page_of_an_account_tells_what_has_reached_it(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    AppliedPolicy.objects.create(
        cohort=owner.cohort,
        unit=organisation.sales,
        setting=Setting.GATEWAY_GUARDRAILS,
        value=PARTNERS,
        version=4,
    )
    words = text_of(client.get(reverse("console:account", args=[owner.pk])))
    assert "only *.partner.example; not old.partner.example Decided for Sales version 4" in words
    assert "Outbound gateway Value the relay of this installation Decided for by default" in words


# --- approvals ----------------------------------------------------------------------------------

LIST = "/console/apps/mail/approvals/"


def wait(user: User, number: int = 0) -> SmtpMsa:
    send_as = make_send_as(user, address=f"user{number}@partnerdomain.com")
    return SmtpMsa.objects.create(
        send_as=send_as, host="smtp.partner.example", port=587, security_mode="starttls",
        username="user.name", key_id="test", ciphertext=b"", approval=Approval.WAITING,
        approval_since="2026-11-01T10:00Z",
    )  # fmt: skip


def judge(client: Client, msa: SmtpMsa, button: str, reason: str = "") -> HttpResponse:
    data = {"gateway": msa.pk, "credential": msa.credential_id, "reason": reason, button: ""}
    return client.post(LIST, data)


def test_a_waiting_server_is_listed_and_approved(
    client: Client, unit_admin: User, owner: User, mailoutbox: list[Any]
) -> None:
    msa = wait(owner)
    client.force_login(unit_admin)
    words = text_of(client.get(LIST))
    assert "user0@partnerdomain.com Yuki Tanaka · user@yourdomain.com" in words
    assert "yourdomain.com › Sales › Partner desk" in words
    assert "smtp.partner.example" in words
    assert "before they are used 1" in text_of(client.get(reverse("console:mail")))
    assert "1 own server waits" in text_of(client.get(reverse("console:overview")))
    assert judge(client, msa, "approve")["Location"] == LIST
    assert "Yuki Tanaka was told by mail" in text_of(client.get(LIST))
    assert "No server waits" in text_of(client.get(LIST))
    assert len(mailoutbox) == 1
    msa.refresh_from_db()
    assert msa.approval == Approval.APPROVED


def test_a_refusal_needs_a_reason_and_stands_in_the_other_list(
    client: Client, unit_admin: User, owner: User, mailoutbox: list[Any]
) -> None:
    msa = wait(owner)
    client.force_login(unit_admin)
    response = judge(client, msa, "refuse")
    assert response.status_code == 409
    assert "Say why: the person reads it" in text_of(response)
    judge(client, msa, "refuse", "Not a partner of ours")
    assert "No server waits" in text_of(client.get(LIST))
    refused = text_of(client.get(f"{LIST}?refused"))
    assert "Not a partner of ours" in refused
    judge(client, msa, "approve")
    assert "No server is refused" in text_of(client.get(f"{LIST}?refused"))


def test_a_server_that_changed_meanwhile_is_not_decided(
    client: Client, unit_admin: User, owner: User
) -> None:
    msa = wait(owner)
    client.force_login(unit_admin)
    SmtpMsa.objects.update(credential_id="00000000-0000-0000-0000-000000000001")
    response = judge(client, msa, "approve", "Fine")
    assert response.status_code == 409
    assert "Nothing was decided" in text_of(response)
    assert 'value="Fine"' in response.content.decode()
    SmtpMsa.objects.all().delete()
    assert judge(client, msa, "approve").status_code == 409


def test_what_no_button_sends_is_a_bad_request(
    client: Client, unit_admin: User, owner: User
) -> None:
    msa = wait(owner)
    client.force_login(unit_admin)
    assert judge(client, msa, "nothing").status_code == 400
    assert client.post(LIST, {"gateway": "x", "approve": ""}).status_code == 400
    assert "at most 500 characters" in text_of(judge(client, msa, "refuse", "x" * 501))


def test_servers_of_other_units_are_nobody_elses(
    client: Client, unit_admin: User, stranger: User, owner: User
) -> None:
    msa = wait(stranger)
    client.force_login(unit_admin)
    assert "No server waits" in text_of(client.get(LIST))
    response = judge(client, msa, "approve")
    assert response.status_code == 409
    msa.refresh_from_db()
    assert msa.approval == Approval.WAITING


def test_the_list_costs_the_same_queries_with_more_rows(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    def make(numbers: range) -> None:
        for number in numbers:
            address = f"p{number}@yourdomain.com"
            unit = organisation.partner_desk
            user = create_user(actor=SYSTEM, primary_address=address, name="P", unit=unit)
            wait(user, number)

    client.force_login(super_admin)
    make(range(10))
    before = count_queries(lambda: client.get(LIST))
    make(range(10, 20))
    assert count_queries(lambda: client.get(LIST)) == before

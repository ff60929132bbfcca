import re
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from policies.models import GatewayPolicy, PolicyChange, Setting
from sendas.models import SmartHostCredential
from tests.conftest import Organisation
from tests.console.rows import assert_refused, count_queries, create_units, text_of
from tests.sendas.conftest import (  # noqa: F401  (fixtures)
    CANARY,
    PARTNER,
    PartnerServer,
    authority,
    open_ports,
    partner,
    trusted,
)


def page_of(unit: OrgUnit) -> str:
    return reverse("console:outbound", args=[unit.pk])


def post(client: Client, unit: OrgUnit, **fields: Any) -> HttpResponse:
    data = {
        "choice": "override", "use": "own", "host": "localhost", "port": "587",
        "security_mode": "starttls", "username": PARTNER, "password": CANARY, "based_on": "0",
    }  # fmt: skip
    return client.post(page_of(unit), data | fields)


def own(unit: OrgUnit) -> Any:
    return GatewayPolicy.objects.get(unit=unit, setting=Setting.OUTBOUND_GATEWAY).value


@pytest.fixture
def port(partner: PartnerServer) -> str:  # noqa: F811
    return str(partner.port)


def test_a_server_is_named_and_inherited_below(
    client: Client, unit_admin: User, organisation: Organisation, port: str
) -> None:
    client.force_login(unit_admin)
    saved = post(client, organisation.sales, port=port, reason="The archive")
    change = PolicyChange.objects.get()
    assert saved["Location"] == f"{page_of(organisation.sales)}?saved={change.pk}"
    shown = client.get(saved["Location"])
    assert "everyone has it by" in text_of(shown)
    assert "leave empty to keep the stored one" in text_of(shown)
    assert CANARY not in shown.content.decode()
    below = text_of(client.get(page_of(organisation.partner_desk)))
    assert f"Inherited from Sales: localhost:{port} with STARTTLS, with a sign-in." in below
    rollout = text_of(client.get(reverse("console:rollout", args=[change.pk])))
    assert f"Outbound gateway: localhost:{port} with STARTTLS, with a sign-in" in rollout
    post(client, organisation.sales, choice="inherit", based_on="1")
    assert own(organisation.sales) is None


def test_one_that_does_not_answer_leaves_the_form_as_typed_and_nothing_else(
    client: Client, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(unit_admin)
    response = post(client, organisation.sales, port="1", reason="As typed")
    kept = [f'value="{value}"' for value in ("localhost", "1", PARTNER, "As typed")]
    assert_refused(response, "No mail server answers like that at localhost, port 1.", *kept)
    assert "What you typed is kept, except the password." in text_of(response)
    assert CANARY not in response.content.decode()
    assert not SmartHostCredential.objects.exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"host": "https://x"}, "name looks like relay.example.com. Leave out the port"),
        ({"host": ""}, "Type the name of the server"),
        ({"port": ""}, "Type the port"),
        ({"port": "70000"}, "less than or equal to 65535"),
        ({"security_mode": "none"}, "Without encryption anybody could read the password"),
        ({"password": ""}, "Type the password"),
        ({"choice": ""}, "Choose Inherit or Override"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_contacted(
    client: Client,
    unit_admin: User,
    organisation: Organisation,
    typed: dict[str, str],
    words: str,
) -> None:
    client.force_login(unit_admin)
    assert_refused(post(client, organisation.sales, **typed), words, PARTNER)


def test_the_second_of_two_administrators_overwrites_nothing(
    client: Client, super_admin: User, unit_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    post(client, organisation.sales, use="installation")
    client.force_login(unit_admin)
    response = post(client, organisation.sales, choice="inherit")
    assert response.status_code == 409
    assert "It is the relay of this installation since" in text_of(response)
    assert re.search(r'name="based_on" value="1"', response.content.decode())
    assert own(organisation.sales) == {"server": None}


def test_the_page_costs_the_same_queries_with_more_units(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    create_units(organisation.sales, "Team")
    before = count_queries(lambda: client.get(page_of(organisation.sales)))
    create_units(organisation.sales, "Group")
    assert count_queries(lambda: client.get(page_of(organisation.sales))) == before

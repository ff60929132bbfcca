"""What a value of the other settings would change that is not saved yet: numbers, lists, files."""

import csv
import io
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import signing
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from accounts.services.audit import SYSTEM
from accounts.services.people import create_user
from delivery.routing import Route, RouteKind, decide
from delivery.services import load_account, load_settings
from policies.guardrails import Guardrail
from policies.models import GatewayFailure, PolicyChange, Setting
from sendas.models import SendAs, SmtpMsa
from tests.conftest import Organisation
from tests.console.rows import (
    apply_waves,
    count_queries,
    create_units,
    save_value,
    set_guardrails,
    text_of,
)
from tests.console.test_impact import add_address
from tests.delivery.outbox import put
from tests.policies.test_gateway_failure import HOLD, choose
from tests.sendas.conftest import CANARY

INHERITED = {
    **{f"{guardrail}_choice": "inherit" for guardrail in Guardrail},
    "connection_least_tls": "1.2",
    "based_on": "0",
}
NARROW: dict[str, dict[str, str]] = {
    "servers": {"servers_choice": "override", "servers_denied": "*.partnerdomain.com"},
    "only": {"servers_choice": "override", "servers_allowed": "smtp.good.example"},
    "domains": {"domains_choice": "override", "domains_denied": "other.example"},
    "ports": {"connection_choice": "override", "connection_ports": "465"},
    "tls": {"connection_choice": "override", "connection_tls_from_start": "on"},
}


def see(client: Client, view: str, unit: OrgUnit, **fields: Any) -> Any:
    return client.post(reverse(view, args=[unit.pk]), {"based_on": "0", **fields, "see": "changes"})


class FileForm(HTMLParser):
    """What a browser sends for "Download as CSV": all that belongs to the form `impact-file`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._inside = found.get("id", "")
        elif "name" in found and found.get("form", self._inside) == "impact-file":
            self.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = ""


def download(client: Client, view: str, unit: OrgUnit, **fields: Any) -> list[dict[str, str]]:
    shown = see(client, view, unit, **fields)
    if view == "console:guardrails":
        form = FileForm(shown.content.decode()).fields
        assert set(form) == {"csrfmiddlewaretoken", "value", "see"}
        file = client.post(reverse(view, args=[unit.pk]), form)
    else:
        file = client.get(shown.context["impact_file"])
    assert file["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(b"".join(file).decode())))


def listed(client: Client, shown: Any, name: str) -> Any:
    """The list behind one of the lines, by the link that the page has for it."""
    [line] = [line for line in shown.context["impact_lines"] if line.name == name]
    url = f"{shown.context['impact_url']}&list={line.name}"
    assert f'href="{url.replace("&", "&amp;")}"' in shown.content.decode()
    return client.get(url)


def through_own_server() -> set[str]:
    return {
        row.send_as_email
        for row in SendAs.objects.all()
        if isinstance(
            way := decide(load_account(row.user), row.send_as_email, load_settings(row.user)), Route
        )
        and way.kind == RouteKind.GATEWAY
    }


@pytest.fixture
def addresses(owner: User, colleague: User, stranger: User) -> None:
    add_address(owner, "a@partnerdomain.com")
    other = add_address(owner, "b@other.example")
    SmtpMsa.objects.filter(send_as=other).update(host="smtp.good.example", port=465)
    secure = add_address(colleague, "c@other.example")
    SmtpMsa.objects.filter(send_as=secure).update(port=465, security_mode="ssl")
    add_address(colleague, "plain@other.example", gateway=False)
    add_address(colleague, "pending@other.example", verified=False)
    add_address(stranger, "d@partnerdomain.com")


@pytest.mark.parametrize("fields", NARROW.values(), ids=NARROW)
def test_the_servers_told_are_those_that_the_decision_forbids(
    client: Client,
    super_admin: User,
    organisation: Organisation,
    addresses: None,
    fields: dict[str, str],
) -> None:
    """Before, and after the change has really reached everybody; then back again."""
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    client.force_login(super_admin)
    view, unit, data = "console:guardrails", organisation.sales, INHERITED | fields
    before = through_own_server()
    told = _told(download(client, view, unit, **data), "Not allowed any more")
    assert not PolicyChange.objects.filter(setting=Setting.GATEWAY_GUARDRAILS).exists()
    client.post(reverse(view, args=[unit.pk]), data)
    apply_waves(PolicyChange.objects.latest("pk"), 13)
    after = through_own_server()
    assert told == before - after
    assert told
    back = download(client, view, unit, **INHERITED | {"based_on": "1"})
    assert _told(back, "Allowed again") == told


def _told(rows: list[dict[str, str]], what: str) -> set[str]:
    return {row["address"] for row in rows if row["what_changes"] == what}


def test_the_page_lists_them_and_keeps_what_was_typed(
    client: Client, unit_admin: User, organisation: Organisation, addresses: None
) -> None:
    client.force_login(unit_admin)
    data = INHERITED | NARROW["servers"] | {"reason": "As agreed"}
    shown = see(client, "console:guardrails", organisation.sales, **data)
    words = text_of(shown)
    assert "3 accounts then have another value" in words
    assert "2 addresses have own servers that are then not allowed any more" in words
    assert "a@partnerdomain.com user@yourdomain.com" in words
    assert "Guardrail Servers" in words
    assert 'value="As agreed"' in shown.content.decode()
    assert "d@partnerdomain.com" not in words
    assert not PolicyChange.objects.exists()
    part = client.post(
        reverse("console:guardrails", args=[organisation.sales.pk]),
        data | {"see": "changes"},
        headers={"hx-request": "true"},
    )
    assert b"<html" not in part.content
    assert "2 addresses have own servers" in text_of(part)
    refused = see(
        client, "console:guardrails", organisation.sales, **data | {"servers_denied": "a b"}
    )
    assert "is no name" in text_of(refused)


def test_a_unit_below_that_overrides_the_same_guardrail_stays_as_it_is(
    client: Client, super_admin: User, organisation: Organisation, addresses: None
) -> None:
    own = {"servers": {"allowed": [], "denied": ["elsewhere.example"]}}
    set_guardrails(super_admin, organisation.partner_desk, own)
    client.force_login(super_admin)
    narrow = INHERITED | NARROW["servers"]
    words = text_of(see(client, "console:guardrails", organisation.sales, **narrow))
    assert "0 accounts then have another value" in words
    assert "2 accounts keep what they have" in words
    other = INHERITED | NARROW["domains"]
    words = text_of(see(client, "console:guardrails", organisation.sales, **other))
    assert "2 accounts then have another value" in words
    assert "2 addresses have own servers" in words


OUTBOUND = {
    "choice": "override", "use": "own", "host": "relay.example.com", "port": "587",
    "security_mode": "starttls", "username": "", "password": "",
}  # fmt: skip
SERVER = {"host": "relay.example.com", "port": 587, "security_mode": "starttls"}


def break_server(address: str, *, wiped: bool = False) -> None:
    msa = SmtpMsa.objects.filter(send_as__send_as_email=address)
    if wiped:
        msa.update(wiped_at=Now(), key_id="", ciphertext=b"")
    else:
        msa.update(refused_at=Now())


def test_another_choice_on_failure_says_whom_it_is_about(
    client: Client, super_admin: User, owner: User, organisation: Organisation, addresses: None
) -> None:
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    break_server("a@partnerdomain.com")
    message = put(owner)
    client.force_login(super_admin)
    data = {"choice": "override", "on_failure": "hold"}
    shown = see(client, "console:failure", organisation.sales, **data)
    words = text_of(shown)
    assert "What changes with Hold it and try again for Sales" in words
    assert "2 accounts then have another value" in words
    assert "1 address’s mail then waits instead of being refused" in words
    assert "2 addresses keep their own servers; only if these do not work" in words
    assert "1 message waits in the outbox; it is routed again" in words
    assert "keep saying" not in words
    page = text_of(listed(client, shown, "waits-instead"))
    assert "a@partnerdomain.com Account user@yourdomain.com" in page
    assert "Open Own server fails" in page
    kept = text_of(listed(client, shown, "if-fails"))
    assert "smtp.good.example" in kept
    assert "a@partnerdomain.com" not in kept
    assert message.from_address in text_of(listed(client, shown, "outbox"))
    change = choose(super_admin, organisation.sales, HOLD)
    apply_waves(change, 13)
    same = see(client, "console:failure", organisation.sales, **data, based_on="1")
    assert "0 accounts then have another value" in text_of(same)


CHOICES = [
    (before, after) for before in GatewayFailure for after in GatewayFailure if before != after
]


@pytest.mark.parametrize(("before", "after"), CHOICES, ids=[f"{a}-{b}" for a, b in CHOICES])
def test_the_routes_told_for_a_choice_on_failure_are_those_of_the_decision(
    client: Client, super_admin: User, organisation: Organisation, addresses: None,
    before: GatewayFailure, after: GatewayFailure,
) -> None:  # fmt: skip
    """Before, and after the change has really reached everybody."""
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    break_server("a@partnerdomain.com")
    break_server("b@other.example", wiped=True)
    apply_waves(choose(super_admin, organisation.root, {"choice": before.value}), 13)
    client.force_login(super_admin)
    data = {"choice": "override", "on_failure": after.value}
    told = {
        row["address"]
        for row in download(client, "console:failure", organisation.sales, **data)
        if row["address"] != row["account"]
    }
    ways = ways_of_mail()
    apply_waves(choose(super_admin, organisation.sales, {"choice": after.value}), 13)
    assert told == {address for address, way in ways_of_mail().items() if way != ways[address]}
    assert told


def ways_of_mail() -> dict[str, Any]:
    """For each outside address what the decision says, but for why."""
    return {
        row.send_as_email: replace(
            decide(load_account(row.user), row.send_as_email, load_settings(row.user)),
            explanation=None,
        )
        for row in SendAs.objects.all()
    }


def test_another_outbound_gateway_says_whom_it_is_about_and_connects_to_nobody(
    client: Client, super_admin: User, owner: User, organisation: Organisation, addresses: None
) -> None:
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    message = put(owner)
    client.force_login(super_admin)
    shown = see(client, "console:outbound", organisation.sales, **OUTBOUND)
    words = text_of(shown)
    assert "What changes with relay.example.com:587 with STARTTLS for Sales" in words
    assert "2 accounts then have another outbound gateway: their primary addresses" in words
    assert "1 outside address changes route: its mail leaves by the other" in words
    page = text_of(listed(client, shown, "other-server"))
    assert "plain@other.example Account colleague@yourdomain.com" in page
    assert owner.primary_address in text_of(listed(client, shown, "accounts"))
    assert message.from_address in text_of(listed(client, shown, "outbox"))
    rows = download(client, "console:outbound", organisation.sales, **OUTBOUND)
    assert {(row["before"], row["after"]) for row in rows if row["address"] != message.pk} == {
        ("the relay of this installation", "relay.example.com:587 with STARTTLS"),
        ("", ""),  # the message
    }
    relay = see(
        client, "console:outbound", organisation.sales, **OUTBOUND | {"use": "installation"}
    )
    assert "0 accounts then have another outbound gateway" in text_of(relay)
    assert not PolicyChange.objects.filter(setting=Setting.OUTBOUND_GATEWAY).exists()


def test_the_routes_told_for_an_outbound_gateway_are_those_of_the_decision(
    client: Client, super_admin: User, organisation: Organisation, addresses: None
) -> None:
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    break_server("a@partnerdomain.com")
    choice = {"choice": GatewayFailure.OUR_SERVERS.value}
    apply_waves(choose(super_admin, organisation.root, choice), 13)
    forbidden = {"domains": {"allowed": [], "denied": ["other.example"]}}
    set_guardrails(super_admin, organisation.root, forbidden)
    client.force_login(super_admin)
    rows = download(client, "console:outbound", organisation.root, **OUTBOUND)
    told = {row["address"] for row in rows if row["address"] != row["account"]}
    ways = ways_of_mail()
    value = {"server": {**SERVER, "credential_id": None}}
    change = save_value(
        user=super_admin, unit=organisation.root, setting=Setting.OUTBOUND_GATEWAY, value=value
    )
    apply_waves(change, 13)
    assert told == {address for address, way in ways_of_mail().items() if way != ways[address]}
    assert told == {
        "a@partnerdomain.com", "b@other.example", "c@other.example", "plain@other.example",
        "d@partnerdomain.com",
    }  # fmt: skip


def test_another_sign_in_at_the_same_outbound_gateway_is_another_route(
    client: Client, super_admin: User, organisation: Organisation, addresses: None
) -> None:
    value = {"server": {**SERVER, "credential_id": None}}
    change = save_value(
        user=super_admin, unit=organisation.sales, setting=Setting.OUTBOUND_GATEWAY, value=value
    )
    apply_waves(change, 13)
    client.force_login(super_admin)
    data = {**OUTBOUND, "based_on": "1"}
    same = text_of(see(client, "console:outbound", organisation.sales, **data))
    assert "0 accounts then have another outbound gateway" in same
    data |= {"username": "outgate", "password": CANARY}
    words = text_of(see(client, "console:outbound", organisation.sales, **data))
    assert "4 outside addresses change route" in words


def test_nothing_that_is_listed_or_downloaded_holds_the_password(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    data = OUTBOUND | {"username": "outgate", "password": CANARY}
    shown = see(client, "console:outbound", organisation.sales, **data)
    assert CANARY not in shown.content.decode()
    value = parse_qs(urlsplit(shown.context["impact_url"]).query)["value"][0]
    assert CANARY not in str(signing.loads(value, salt="what-changes:outbound_gateway"))
    page = listed(client, shown, "accounts").content.decode()
    file = b"".join(client.get(shown.context["impact_file"])).decode()
    for text in (page, file):
        assert owner.primary_address in text
        assert CANARY not in text


def test_lists_and_files_are_of_a_value_that_was_shown_only(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    unit = organisation.sales.pk
    page = reverse("console:guardrails", args=[unit])
    of_another_setting = signing.dumps({"server": None}, salt="what-changes:outbound_gateway")
    for value in ("", "made-up", of_another_setting):
        assert client.post(page, {"see": "file", "value": value}).status_code == 400
        for view in ("console:value_impact", "console:value_impact_file"):
            url = reverse(view, args=[unit, "own-server-fails"])
            assert client.get(url, {"value": value}).status_code == 400
    unknown = reverse("console:value_impact", args=[unit, "zebra"])
    assert client.get(unknown, {"value": of_another_setting}).status_code == 404


def test_a_rollout_in_the_middle_counts_who_does_not_have_it_yet(
    client: Client, super_admin: User, owner: User, colleague: User, organisation: Organisation
) -> None:
    User.objects.filter(pk=owner.pk).update(cohort=1)
    User.objects.filter(pk=colleague.pk).update(cohort=12)
    apply_waves(choose(super_admin, organisation.sales, HOLD), 4)
    client.force_login(super_admin)
    data = {"choice": "override", "on_failure": "hold", "based_on": "1"}
    rows = download(client, "console:failure", organisation.sales, **data)
    assert [row["account"] for row in rows] == [colleague.primary_address]


@pytest.mark.parametrize(
    ("view", "data"),
    [
        ("console:guardrails", INHERITED | NARROW["servers"]),
        ("console:failure", {"choice": "override", "on_failure": "hold"}),
        ("console:outbound", OUTBOUND),
    ],
)
def test_the_queries_are_the_same_with_more_addresses_and_units(
    client: Client, super_admin: User, owner: User, organisation: Organisation, addresses: None,
    view: str, data: dict[str, str],
) -> None:  # fmt: skip
    apply_waves(save_value(user=super_admin, unit=organisation.root), 13)
    client.force_login(super_admin)

    def ask() -> Any:
        return see(client, view, organisation.sales, **data)

    def ask_for_lists() -> None:
        if view != "console:guardrails":
            for name in ("accounts", "outbox", "other-server", "if-fails"):
                client.get(f"{ask().context['impact_url']}&list={name}")

    before = count_queries(ask), count_queries(ask_for_lists)
    units = create_units(organisation.sales, "More")
    for number in range(10):
        add_address(owner, f"more-{number}@partnerdomain.com")
        add_address(
            create_user(
                actor=SYSTEM, primary_address=f"more-{number}@yourdomain.com", name="Person",
                unit=units[number],
            ),
            f"again-{number}@partnerdomain.com",
        )  # fmt: skip
    assert (count_queries(ask), count_queries(ask_for_lists)) == before

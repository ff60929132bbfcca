"""What a value of the other settings would change that is not saved yet."""

import csv
import io
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core import signing
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from accounts.models import OrgUnit, User
from delivery.routing import Route, RouteKind, decide
from delivery.services import load_account, load_settings
from policies.guardrails import Guardrail
from policies.models import PolicyChange, Setting
from sendas.models import SendAs, SmtpMsa
from tests.conftest import Organisation
from tests.console.rows import apply_waves, count_queries, save_value, set_guardrails, text_of
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
    form = FileForm(shown.content.decode()).fields
    assert set(form) == {"csrfmiddlewaretoken", "value", "see"}
    file = client.post(reverse(view, args=[unit.pk]), form)
    assert file["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(b"".join(file).decode())))


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


def test_another_choice_on_failure_says_whom_it_is_about(
    client: Client, super_admin: User, owner: User, organisation: Organisation, addresses: None
) -> None:
    SmtpMsa.objects.filter(send_as__send_as_email="a@partnerdomain.com").update(refused_at=Now())
    put(owner)
    client.force_login(super_admin)
    data = {"choice": "override", "on_failure": "hold"}
    words = text_of(see(client, "console:failure", organisation.sales, **data))
    assert "2 accounts then have another value" in words
    assert "3 addresses of theirs have their own servers" in words
    assert "1 of these has no password that works" in words
    assert "1 message of theirs waits in the outbox" in words
    change = choose(super_admin, organisation.sales, HOLD)
    apply_waves(change, 13)
    same = see(client, "console:failure", organisation.sales, **data, based_on="1")
    assert "0 accounts then have another value" in text_of(same)


def test_another_outbound_gateway_says_whom_it_is_about_and_connects_to_nobody(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    data = {
        "choice": "override", "use": "own", "host": "relay.example.com", "port": "587",
        "security_mode": "starttls", "username": "", "password": "",
    }  # fmt: skip
    words = text_of(see(client, "console:outbound", organisation.sales, **data))
    assert "1 account then has another value" in words
    relay = see(client, "console:outbound", organisation.sales, **data | {"use": "installation"})
    assert "0 accounts then have another value" in text_of(relay)
    assert not PolicyChange.objects.exists()


def test_the_file_is_asked_for_without_the_password(
    client: Client, super_admin: User, owner: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    data = {
        "choice": "override", "use": "own", "host": "relay.example.com", "port": "587",
        "security_mode": "starttls", "username": "outgate", "password": CANARY,
    }  # fmt: skip
    shown = see(client, "console:outbound", organisation.sales, **data)
    form = FileForm(shown.content.decode()).fields
    assert set(form) == {"csrfmiddlewaretoken", "value", "see"}
    assert CANARY not in shown.content.decode()
    assert CANARY not in str(signing.loads(form["value"], salt="what-changes:outbound_gateway"))
    rows = download(client, "console:outbound", organisation.sales, **data)
    assert [row["account"] for row in rows] == [owner.primary_address]


def test_the_file_is_of_a_value_that_was_shown_only(
    client: Client, super_admin: User, organisation: Organisation
) -> None:
    client.force_login(super_admin)
    page = reverse("console:guardrails", args=[organisation.sales.pk])
    of_another_setting = signing.dumps({"server": None}, salt="what-changes:outbound_gateway")
    for value in ("", "made-up", of_another_setting):
        assert client.post(page, {"see": "file", "value": value}).status_code == 400


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


def test_the_queries_are_the_same_with_more_addresses(
    client: Client, super_admin: User, owner: User, organisation: Organisation, addresses: None
) -> None:
    client.force_login(super_admin)
    data = INHERITED | NARROW["servers"]

    def ask() -> Any:
        return see(client, "console:guardrails", organisation.sales, **data)

    before = count_queries(ask)
    for number in range(10):
        add_address(owner, f"more-{number}@partnerdomain.com")
    assert count_queries(ask) == before

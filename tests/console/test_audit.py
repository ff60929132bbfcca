import csv
import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.services.audit import SYSTEM, Actor, record_event
from accounts.services.directory import create_unit
from accounts.services.people import add_alias, move_user
from accounts.services.roles import assign_role
from accounts.templatetags.clock import date_and_zone
from console.audit_words import EVENTS
from policies.models import RolloutAction
from sendas.models import Approval
from tests.console.rows import ON, count_queries, save_value, text_of
from tests.policies.rows import save

PAGE = "/console/audit/"
CSV, JSON = f"{PAGE}download.csv", f"{PAGE}download.json"


@pytest.fixture
def as_super(client, super_admin):
    client.force_login(super_admin)
    return client


def downloaded(client, url, query=None):
    response = client.get(url, query or {})
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode()


def rows_of(client, query=None):
    return list(csv.DictReader(io.StringIO(downloaded(client, CSV, query))))


def test_each_change_stands_with_actor_address_time_unit_old_and_new(
    as_super, super_admin, owner, organisation
):
    save_value(user=super_admin, unit=organisation.sales)
    move_user(actor=Actor(super_admin, "192.0.2.9"), user=owner, unit=organisation.support_unit)
    words = text_of(as_super.get(PAGE))
    assert "admin@yourdomain.com Event Setting changed" in words
    assert "CREATE_APPLICATION_SETTING CHANGE_EMAIL_SETTING" in words
    assert "Inherited → becomes On" in words
    assert "from 192.0.2.9 Event Account moved to another unit MOVE_USER_TO_ORG_UNIT" in words
    assert "yourdomain.com › Sales › Partner desk → becomes yourdomain.com › Support" in words


def test_the_time_of_a_scheduled_change_stands_as_times_do(as_super, super_admin, organisation):
    change = save(super_admin, organisation.sales, ON, after=timedelta(days=2))
    words = text_of(as_super.get(PAGE))
    shown = date_and_zone(change.starts_at).replace("\xa0", " ")
    assert f"starts at: {shown}" in words
    assert change.starts_at.isoformat() not in words


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"actor": "ADMIN@"}, {"alias_added"}),
        ({"actor": "nobody"}, set()),
        ({"event": "unit_created"}, {"unit_created"}),
        ({"unit": "Support"}, {"unit_created"}),
        ({"unit": "sales", "event": "alias_added"}, {"alias_added"}),
        ({"since": "2999-01-01"}, set()),
        ({"until": "1999-01-01"}, set()),
        ({"before": "1"}, set()),
    ],
)
def test_the_filters_leave_out_what_does_not_fit(
    as_super, super_admin, owner, organisation, query, expected
):
    add_alias(actor=Actor(super_admin), user=owner, address="yuki@yourdomain.com")
    if "before" in query:
        assert "No event fits" in text_of(as_super.get(PAGE, query))
        return
    assert {row["event"] for row in rows_of(as_super, query)} == expected
    title = next(iter(expected), "")
    assert (str(EVENTS.get(title, "No event fits"))) in text_of(as_super.get(PAGE, query))


def test_a_period_ends_with_its_last_day(as_super, organisation):
    today = timezone.localdate()
    query = {"since": today, "until": today}
    assert rows_of(as_super, query)
    assert not rows_of(as_super, {"until": today - timedelta(days=1)})


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"unit": "Nowhere"}, "No unit is called “Nowhere”."),
        ({"since": "soon"}, "Enter a valid date"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "The last day lies before the first one."),
        ({"event": "nothing"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_looked_up_is_told_and_kept(as_super, query, told):
    response = as_super.get(PAGE, query)
    assert told in text_of(response)
    if "unit" in query:
        assert 'value="Nowhere"' in response.content.decode()
    for url in (CSV, JSON):
        assert told in text_of(as_super.get(url, query))


def test_pages_follow_each_other_without_gap_or_repetition(as_super, organisation):
    for number in range(120):
        record_event(SYSTEM, "unit_renamed", f"target-{number}-", unit=organisation.sales)
    seen, url = [], PAGE + "?event=unit_renamed"
    while url:
        html = as_super.get(url).content.decode()
        seen += [int(number) for number in re.findall(r"target-(\d+)-", html)]
        older = re.search(r'rel="next" href="([^"]+)"', html)
        url = PAGE + older[1].replace("&amp;", "&") if older else None
        # What is written meanwhile does not move the pages that follow.
        record_event(SYSTEM, "unit_renamed", "later", unit=organisation.sales)
    assert seen == list(range(119, -1, -1))


@pytest.mark.parametrize(
    ("name", "seen"),
    [("root", False), ("support_unit", False), ("sales", True), ("partner_desk", True)],
)
def test_reports_of_a_unit_are_those_of_it_and_below(
    client, reports_admin, organisation, name, seen
):
    record_event(SYSTEM, "unit_renamed", "the one", unit=getattr(organisation, name))
    record_event(SYSTEM, "domain_created", "second.example")
    client.force_login(reports_admin)
    assert ("the one" in text_of(client.get(PAGE))) == seen
    assert ("the one" in downloaded(client, CSV)) == seen
    assert ("the one" in downloaded(client, JSON)) == seen
    assert "second.example" not in text_of(client.get(PAGE)) + downloaded(client, JSON)
    asked = text_of(client.get(PAGE, {"unit": getattr(organisation, name).name}))
    assert ("No unit is called" in asked) != seen


def test_two_units_with_reports_are_both_seen(client, reports_admin, organisation):
    assign_role(
        actor=SYSTEM,
        user=reports_admin,
        role="unit_admin",
        unit=organisation.support_unit,
        privileges=["reports"],
    )
    client.force_login(reports_admin)
    record_event(SYSTEM, "unit_renamed", "beside", unit=organisation.support_unit)
    assert "beside" in text_of(client.get(PAGE))


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(as_super, organisation, beginning):
    formula = f'{beginning}HYPERLINK("http://evil.example")'
    create_unit(actor=SYSTEM, name=formula.strip() or formula, parent=organisation.sales)
    record_event(SYSTEM, "unit_renamed", formula, unit=organisation.sales, old=formula, new=formula)
    rows = rows_of(as_super, {"event": "unit_renamed"})
    assert rows[0]["target"] == rows[0]["old_value"] == rows[0]["new_value"] == f"'{formula}"
    cells = [cell for row in rows_of(as_super) for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_the_json_has_the_shape_of_the_reports_api(as_super, super_admin, organisation):
    first = save_value(user=super_admin, unit=organisation.sales)
    save_value(user=super_admin, unit=organisation.sales, value={"allowed": False}, based_on=1)
    save_value(user=super_admin, unit=organisation.sales, value=None, based_on=2)
    found = json.loads(downloaded(as_super, JSON, {"event": "policy_changed"}))
    assert len(found) == 3
    for activity, action in zip(found, ("DELETE", "CHANGE", "CREATE"), strict=True):
        assert activity["actor"] == {"email": "admin@yourdomain.com"}
        assert [(each["type"], each["name"]) for each in activity["events"]] == [
            ("APPLICATION_SETTINGS", f"{action}_APPLICATION_SETTING"),
            ("EMAIL_SETTINGS", "CHANGE_EMAIL_SETTING"),
        ]
    parameters = {each["name"]: each["value"] for each in found[2]["events"][0]["parameters"]}
    assert parameters == {
        "APPLICATION_NAME": "Gmail",
        "SETTING_NAME": "PerUserOutboundGateway enable_smtp_relay",
        "ORG_UNIT_NAME": first.unit_path,
        "OLD_VALUE": "INHERIT_FROM_PARENT",
        "NEW_VALUE": "true",
    }
    assert ON == {"allowed": True}
    assert json.loads(downloaded(as_super, JSON, {"since": "2999-01-01"})) == []


def test_every_event_that_is_recorded_has_its_words():
    """Read from the source: an event without words would be told by its bare name."""
    recorded = {f"policy_rollout_{kind}" for kind in RolloutAction.Kind}
    recorded -= {"policy_rollout_started", "policy_rollout_cancelled"}  # these have other names
    recorded |= {f"gateway_{approval}" for approval in (Approval.APPROVED, Approval.REFUSED)}
    for app in ("accounts", "policies", "sendas", "delivery", "console"):
        for path in Path(settings.BASE_DIR, app).rglob("*.py"):
            call = r'record(?:_address)?(?:_events?)?\(\s*\w+,\s*"(\w+)"'
            recorded.update(re.findall(call, path.read_text()))
    assert {"policy_changed", "role_removed", "gateway_set"} <= recorded
    assert recorded == set(EVENTS)


def test_the_page_costs_the_same_queries_with_more_events(as_super, super_admin, organisation):
    def write(count):
        for number in range(count):
            record_event(Actor(super_admin), "unit_moved", f"{number}", unit=organisation.sales)

    write(10)
    ten = count_queries(lambda: as_super.get(PAGE))
    write(10)
    assert count_queries(lambda: as_super.get(PAGE)) == ten

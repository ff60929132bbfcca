"""What a value would change that is not saved yet."""

import csv
import io

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain
from accounts.services.people import create_user, suspend_user
from console.guardrail_impact import load_guardrail_impact
from console.impact_loading import load_impact
from console.unit_setting import load_unit_setting
from delivery.routing import Route, decide
from delivery.services import load_account, load_settings
from policies.models import GatewayFailure, PolicyChange, Setting
from sendas.models import Approval, SendAs, SmtpMsa
from tests.console.rows import (
    OFF,
    apply_waves,
    count_queries,
    create_units,
    save_value,
    set_guardrails,
    text_of,
)
from tests.delivery.outbox import put
from tests.policies.test_gateway_failure import choose


def page_of(unit):
    return reverse("console:mail_advanced", args=[unit.pk])


def see(client, unit, **fields):
    data = {"choice": "override", "allowed": "on", "based_on": "0", **fields, "see": "changes"}
    return client.post(page_of(unit), data)


def listed(client, unit, **query):
    return client.get(reverse("console:mail_impact", args=[unit.pk]), {"value": "on", **query})


def download(client, unit, value="on"):
    answer = client.get(reverse("console:mail_impact_file", args=[unit.pk]), {"value": value})
    assert answer["Content-Disposition"] == 'attachment; filename="outgate-what-changes.csv"'
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode())))


def add_address(user, address, *, gateway=True, works=True, verified=True):
    status = SendAs.VerificationStatus
    send_as = SendAs.objects.create(
        user=user,
        send_as_email=address,
        verification_status=status.ACCEPTED if verified else status.PENDING,
    )
    if gateway:
        SmtpMsa.objects.create(
            send_as=send_as, host="smtp.partnerdomain.com", port=587, security_mode="starttls",
            username=address, key_id="k", ciphertext=b"",
            refused_at=None if works else timezone.now(),
        )  # fmt: skip
    return send_as


@pytest.fixture
def addresses(owner, colleague):
    """One of each kind that a policy can touch, and others that it can't."""
    create_domain(actor=SYSTEM, name="ours.example", kind="secondary")
    add_address(owner, "own@partnerdomain.com")
    add_address(owner, "broken@partnerdomain.com", works=False)
    add_address(owner, "plain@partnerdomain.com", gateway=False)
    add_address(owner, "pending@partnerdomain.com", verified=False)
    wiped = add_address(owner, "wiped@partnerdomain.com")
    SmtpMsa.objects.filter(send_as=wiped).update(wiped_at=Now(), key_id="", ciphertext=b"")
    unapproved = add_address(owner, "unapproved@partnerdomain.com")
    SmtpMsa.objects.filter(send_as=unapproved).update(approval=Approval.REFUSED)
    lapsed = add_address(owner, "lapsed@partnerdomain.com")
    SendAs.objects.filter(pk=lapsed.pk).update(
        asked_at=Now(), proof_due_at=Now(), suspended_at=Now()
    )
    add_address(colleague, "inside@ours.example")
    suspended = create_user(
        actor=SYSTEM, primary_address="left@yourdomain.com", name="Left", unit=owner.unit
    )
    add_address(suspended, "left@partnerdomain.com")
    suspend_user(actor=SYSTEM, user=suspended)


def test_the_card_shows_what_changes_and_saves_nothing(client, unit_admin, organisation, addresses):
    client.force_login(unit_admin)
    shown = see(client, organisation.sales, reason="The partner asks")
    words = text_of(shown)
    assert "What changes with On for Sales" in words
    assert "4 accounts may then use own servers" in words
    assert "1 address changes route: its own server is set up" in words
    assert "2 addresses can no longer send: the passwords for their own" in words
    assert "3 addresses keep saying “on behalf of”: they have no server" in words
    assert 'value="The partner asks"' in shown.content.decode()
    assert not PolicyChange.objects.exists()


def test_the_page_of_a_script_gets_the_panel_alone(client, super_admin, organisation, owner):
    client.force_login(super_admin)
    data = {"choice": "override", "allowed": "on", "based_on": "0", "see": "changes"}
    url = page_of(organisation.sales)
    part = client.post(url, data, headers={"hx-request": "true"})
    assert "1 account may then use own servers" in text_of(part)
    assert b"<html" not in part.content
    data["starts_at"] = "tomorrow"
    refused = client.post(url, data, headers={"hx-request": "true"})
    assert "Write a date and a time" in text_of(refused)
    assert b'role="alert"' in refused.content


def test_to_turn_it_off_again_says_who_shows_on_behalf_of(
    client, super_admin, organisation, addresses
):
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    client.force_login(super_admin)
    words = text_of(listed(client, organisation.sales, value="inherit", list="on-behalf"))
    assert "3 accounts may then no longer use own servers" in words
    assert "1 address changes route; recipients may then see “on behalf of”" in words
    assert "own@partnerdomain.com Account user@yourdomain.com Yuki Tanaka" in words
    assert "2 addresses can send again" in words


@pytest.mark.parametrize("choice", GatewayFailure)
@pytest.mark.parametrize("allowed", [True, False])
def test_the_routes_told_are_those_of_the_decision(
    client, super_admin, organisation, addresses, allowed, choice
):
    """Each address's decision before, and after the change has really reached everybody."""
    apply_waves(choose(super_admin, organisation.root, {"choice": choice.value}), 13)
    assert_told_as_decided(client, super_admin, organisation, allowed=allowed)


def assert_told_as_decided(client, super_admin, organisation, *, allowed):
    root = organisation.root
    before = save_value(user=super_admin, unit=root, value={"allowed": not allowed})
    apply_waves(before, 13)
    client.force_login(super_admin)
    told = {
        row["address"]: (row["before"], row["after"])
        for row in download(client, organisation.sales, "on" if allowed else "off")
        if row["address"] != row["account"]
    }
    ways = decisions()
    after = save_value(user=super_admin, unit=organisation.sales, value={"allowed": allowed})
    apply_waves(after, 13)
    turned = {address: (way, decisions()[address]) for address, way in ways.items()}
    # Whose mail is refused on either way, for another reason, is in no list.
    turned = {address: ways for address, ways in turned.items() if set(ways) != {"stopped"}}
    assert told == turned


RAILS = {
    "host": {"servers": {"allowed": ["*.good.example"], "denied": []}},
    "domain": {"domains": {"allowed": [], "denied": ["partnerdomain.com"]}},
    "encryption": {"connection": {"ports": [465], "least_tls": "1.2", "tls_from_start": True}},
    "approval": {"approval": {"needed": True}},
    "limits": {"addresses": {"most": 5}},
}


@pytest.mark.parametrize("rails", RAILS.values(), ids=RAILS)
@pytest.mark.parametrize("allowed", [True, False])
def test_guardrails_are_counted_as_the_decision_asks_them(
    client, super_admin, organisation, owner, colleague, addresses, allowed, rails
):
    """One unit has them, the other not."""
    add_address(owner, "waiting@partnerdomain.com")
    of_owner = SmtpMsa.objects.filter(send_as__send_as_email="waiting@partnerdomain.com")
    of_owner.update(approval=Approval.WAITING)
    good = add_address(owner, "good@good.example")
    SmtpMsa.objects.filter(send_as=good).update(host="s.good.example", port=465)
    secure = add_address(owner, "secure@good.example")
    SmtpMsa.objects.filter(send_as=secure).update(port=465, security_mode="ssl")
    add_address(create_person(organisation.sales), "free@partnerdomain.com")
    set_guardrails(super_admin, organisation.partner_desk, rails)
    assert_told_as_decided(client, super_admin, organisation, allowed=allowed)


def test_in_the_middle_of_a_rollout_of_guardrails_each_account_is_counted_by_its_own(
    client, super_admin, organisation, owner
):
    others = [create_person(organisation.sales, f"person-{number}") for number in range(3)]
    for user, cohort in zip([owner, *others], (1, 12, 1, 12), strict=True):
        User.objects.filter(pk=user.pk).update(cohort=cohort)
        add_address(user, f"{user.pk}@partnerdomain.com")
    rails = {"servers": {"allowed": ["x.example"], "denied": []}}
    guardrails = Setting.GATEWAY_GUARDRAILS
    change = save_value(user=super_admin, unit=organisation.root, setting=guardrails, value=rails)
    apply_waves(change, 4)
    assert_told_as_decided(client, super_admin, organisation, allowed=True)
    for value, barred in ((rails, 2), (None, 0)):
        impact = load_guardrail_impact(organisation.sales, value)
        rows = list(impact.told(impact.addresses(again=False)))
        assert impact.forbidden == len(rows) == barred
        assert {row.send_as.user_id for row in rows} <= {others[0].pk, others[2].pk, owner.pk}


def test_more_different_guardrails_cost_no_more_queries(client, super_admin, organisation, owner):
    add_address(owner, "own@partnerdomain.com")
    units = create_units(organisation.sales, "Team")
    for number, unit in enumerate(units):
        add_address(create_person(unit, f"p-{number}"), f"p-{number}@partnerdomain.com")
    rails = [{"servers": {"allowed": [f"{number}.example"], "denied": []}} for number in range(10)]

    def ask():
        load_impact(load_unit_setting(organisation.sales), {"allowed": True}).turns.total()
        barred = {"domains": {"allowed": ["x.example"], "denied": []}}
        impact = load_guardrail_impact(organisation.sales, barred)
        return impact.forbidden, list(impact.addresses(again=False))

    set_guardrails(super_admin, units[0], rails[0])
    before = count_queries(ask)
    for unit, value in zip(units[1:], rails[1:], strict=True):
        set_guardrails(super_admin, unit, value)
    assert count_queries(ask) == before


def create_person(unit, name="person"):
    return create_user(
        actor=SYSTEM, primary_address=f"{name}@yourdomain.com", name="Person", unit=unit
    )


def decisions():
    return {
        row.send_as_email: _way(
            decide(load_account(row.user), row.send_as_email, load_settings(row.user))
        )
        for row in SendAs.objects.select_related("user__unit")
    }


def _way(answer):
    if not isinstance(answer, Route):
        return "stopped"
    return "by our servers" if answer.kind == "default" else "through their own server"


def test_where_a_unit_lets_mail_wait_it_does_not_say_that_it_is_refused(
    client, super_admin, organisation, addresses
):
    hold = {"choice": GatewayFailure.HOLD.value}
    apply_waves(choose(super_admin, organisation.partner_desk, hold), 13)
    client.force_login(super_admin)
    words = text_of(listed(client, organisation.sales, list="waits"))
    assert "2 addresses’ mail then waits: the passwords for their own servers" in words
    assert "broken@partnerdomain.com" in words
    assert "can no longer send" not in words


def test_messages_in_the_outbox_are_routed_again(
    client, super_admin, organisation, owner, stranger
):
    put(owner, from_address="own@partnerdomain.com")
    put(stranger)
    client.force_login(super_admin)
    words = text_of(listed(client, organisation.sales, list="outbox"))
    assert "1 message waits in the outbox; it is routed again before it leaves" in words
    assert "own@partnerdomain.com" in words
    assert [row["what_changes"][:9] for row in download(client, organisation.sales)] == [
        "account m",
        "message w",
    ]
    assert listed(client, organisation.sales, list="outbox", after="x").status_code == 200


def test_what_has_not_arrived_yet_is_not_counted_as_held(
    client, super_admin, organisation, owner, colleague
):
    User.objects.filter(pk=owner.pk).update(cohort=1)
    User.objects.filter(pk=colleague.pk).update(cohort=12)
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 2)
    client.force_login(super_admin)
    words = text_of(listed(client, organisation.sales, value="off"))
    assert "1 account may then no longer use own servers" in words
    assert "1 account has Off already" in words
    assert owner.primary_address in words
    assert colleague.primary_address not in words


def test_units_with_own_values_stay_as_they_are(client, super_admin, organisation, owner, stranger):
    save_value(user=super_admin, unit=organisation.partner_desk, value=OFF)
    client.force_login(super_admin)
    words = text_of(listed(client, organisation.root))
    assert "1 accounts stay as they are: 1 unit below has a value of its own" in words
    assert stranger.primary_address in words
    assert owner.primary_address not in words


@pytest.mark.parametrize("name", ["accounts", "stays-on-behalf"])
def test_lists_come_in_pages_that_follow_each_other(client, super_admin, organisation, name):
    for number in range(51):
        user = create_user(
            actor=SYSTEM,
            primary_address=f"a{number:02}@yourdomain.com",
            name="Person",
            unit=organisation.partner_desk,
        )
        add_address(user, f"b{number:02}@partnerdomain.com", gateway=False)
    client.force_login(super_admin)
    first = listed(client, organisation.partner_desk, list=name)
    assert "a49@yourdomain.com" in text_of(first)
    assert "a50@yourdomain.com" not in text_of(first)
    url = reverse("console:mail_impact", args=[organisation.partner_desk.pk])
    second = client.get(url + first.context["next_url"])
    assert "a50@yourdomain.com" in text_of(second)
    assert "a49@yourdomain.com" not in text_of(second)


def test_the_file_holds_every_list_and_no_formula(client, super_admin, organisation, owner):
    User.objects.filter(pk=owner.pk).update(name="=1+1")
    add_address(owner, "+x@partnerdomain.com")
    client.force_login(super_admin)
    account, address = download(client, organisation.partner_desk)
    assert account == {
        "what_changes": "account may then use own servers",
        "address": owner.primary_address,
        "account": owner.primary_address,
        "name": "'=1+1",
        "unit": "yourdomain.com › Sales › Partner desk",
        "server": "",
        "before": "Off",
        "after": "On",
    }
    assert address["address"] == "'+x@partnerdomain.com"
    assert address["after"] == "through their own server"


@pytest.mark.parametrize("query", [{"value": "maybe"}, {"value": ""}, {"list": "zebra"}])
def test_what_is_no_value_or_list_is_not_found(client, super_admin, organisation, query):
    client.force_login(super_admin)
    assert listed(client, organisation.sales, **query).status_code == 404


def test_the_number_of_queries_does_not_depend_on_accounts_or_units(
    client, super_admin, organisation
):
    client.force_login(super_admin)
    counts = set()
    for prefix in ("Ten", "Twenty"):
        for number, unit in enumerate(create_units(organisation.sales, prefix)):
            user = create_user(
                actor=SYSTEM,
                primary_address=f"{prefix}-{number}@yourdomain.com",
                name="Person",
                unit=unit,
            )
            add_address(user, f"{prefix}-{number}@partnerdomain.com")
            if number % 2:
                save_value(user=super_admin, unit=unit, value=OFF)
        asked = (
            lambda: see(client, organisation.root),
            lambda: listed(client, organisation.root, list="accounts"),
            lambda: listed(client, organisation.root, list="through"),
        )
        counts.add(tuple(count_queries(ask) for ask in asked))
    assert len(counts) == 1

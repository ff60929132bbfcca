import pytest

from accounts.services.audit import SYSTEM, Actor
from accounts.services.directory import create_unit, delete_unit
from policies.models import GatewayPolicy, PolicyChange, Setting
from policies.services import change_policy
from tests.policies.rows import apply_wave
from tests.support import assert_only_to_be_read, count_queries, page_of, read


def switch_on(admin, unit, reason=""):
    return change_policy(
        actor=Actor(admin),
        unit=unit,
        setting=Setting.PER_USER_OUTBOUND_GATEWAY,
        value={"allowed": True},
        based_on=0,
        reason=reason,
    )


@pytest.fixture
def change(super_admin, organisation):
    return switch_on(super_admin, organisation.sales, "The partner asked.")


@pytest.mark.parametrize("role", ["support", "super_admin"])
@pytest.mark.parametrize("model", [PolicyChange, GatewayPolicy])
def test_support_reads_and_changes_nothing(client, role, model, request, change):
    client.force_login(request.getfixturevalue(role))
    html = assert_only_to_be_read(client, model.objects.get())
    assert "Sales" in html
    assert ">On<" in html


def test_a_change_is_shown_with_its_waves_and_how_far_it_is(client, support, change):
    apply_wave(change.waves.get(cohort=1).pk)
    client.force_login(support)
    html = read(client, page_of(change))
    assert "1 of 12 waves" in html
    assert "The partner asked." in html
    assert html.count('class="field-cohort"') == 13


def test_how_far_a_change_had_come_is_told_when_its_unit_is_gone(
    client, support, super_admin, organisation
):
    change = switch_on(super_admin, organisation.partner_desk)
    apply_wave(change.waves.get(cohort=1).pk)
    delete_unit(actor=SYSTEM, unit=organisation.partner_desk)
    client.force_login(support)
    assert "1 of 12 waves" in read(client, page_of(change))


@pytest.mark.parametrize("term", ["Sales", "admin@yourdomain.com", "partner"])
def test_a_change_is_found_by_unit_administrator_or_reason(client, support, change, term):
    client.force_login(support)
    url = page_of(change, "changelist")
    assert page_of(change) in read(client, f"{url}?q={term}")
    assert page_of(change) not in read(client, f"{url}?q=nowhere")


def test_a_list_costs_the_same_queries_with_more_rows(client, support, super_admin, organisation):
    def make_rows(numbers):
        for number in numbers:
            unit = create_unit(actor=SYSTEM, name=f"U{number}", parent=organisation.sales)
            switch_on(super_admin, unit)

    client.force_login(support)
    make_rows(range(10))
    urls = [page_of(model(), "changelist") for model in (PolicyChange, GatewayPolicy)]
    before = [count_queries(client, url) for url in urls]
    make_rows(range(10, 20))
    assert [count_queries(client, url) for url in urls] == before


def test_strangers_are_sent_away(client, stranger, change):
    client.force_login(stranger)
    assert client.get(page_of(change)).status_code in {302, 403}

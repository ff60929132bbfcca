"""What happens when an address's own server does not work: a setting like the other."""

import pytest

from accounts.services.audit import Actor
from delivery.services import load_settings
from policies.models import AppliedPolicy, GatewayFailure, PolicyChange, Setting
from policies.services import applied_value, change_policy
from tests.console.rows import apply_waves, save_value, text_of
from tests.policies.rows import apply_wave
from tests.support import page_of, read

FAILURE = Setting.GATEWAY_FAILURE
HOLD = {"choice": GatewayFailure.HOLD.value}


def choose(admin, unit, value=HOLD) -> PolicyChange:
    change = change_policy(actor=Actor(admin), unit=unit, setting=FAILURE, value=value, based_on=0)
    assert change
    return change


def test_the_default_is_to_refuse(owner):
    assert applied_value(owner.unit.path, owner.cohort, FAILURE).value == {"choice": "refuse"}
    assert load_settings(owner).on_failure == GatewayFailure.REFUSE


def test_a_choice_comes_in_waves_and_children_inherit_it(super_admin, owner, organisation):
    change = choose(super_admin, organisation.sales)
    assert load_settings(owner).on_failure == GatewayFailure.REFUSE
    apply_waves(change, 13)
    assert load_settings(owner).on_failure == GatewayFailure.HOLD
    own = {"choice": GatewayFailure.OUR_SERVERS.value}
    apply_waves(choose(super_admin, organisation.partner_desk, own), 13)
    assert load_settings(owner).on_failure == GatewayFailure.OUR_SERVERS


def test_the_two_settings_of_a_unit_have_their_own_versions(super_admin, owner, organisation):
    apply_waves(choose(super_admin, organisation.sales), 13)
    apply_waves(save_value(user=super_admin, unit=organisation.sales), 13)
    settings = load_settings(owner)
    assert (settings.gateways_allowed, settings.version) == (True, 1)
    assert settings.on_failure == GatewayFailure.HOLD
    assert AppliedPolicy.objects.filter(cohort=owner.cohort).count() == 2


@pytest.mark.parametrize("model_page", ["changelist", "change"])
def test_support_and_console_name_the_choice(client, super_admin, organisation, model_page):
    change = choose(super_admin, organisation.sales)
    apply_wave(change.waves.get(cohort=0).pk)
    client.force_login(super_admin)
    assert "Hold it and try again" in read(client, page_of(change, model_page))
    for page in ("/console/rollouts/", f"/console/rollouts/{change.pk}/", "/console/"):
        assert client.get(page).status_code == 200
    assert "Hold it and try again" in text_of(client.get("/console/rollouts/"))

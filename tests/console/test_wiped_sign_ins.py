"""Sign-ins of units' outbound gateways: shown beside people's passwords, wiped with a tick only."""

import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEvent
from accounts.services.audit import SYSTEM, Actor
from delivery.models import OutboxMessage
from policies.models import AppliedPolicy, PolicyChange, Setting
from sendas.models import SmartHostCredential, SmtpMsa
from sendas.services.outbound_gateway import change_outbound_gateway, smart_host_sign_in
from sendas.services.rotation import count_on_old_keys
from sendas.services.wiping import wipe_passwords
from smtp.failure import FailureKind, SmtpFailure
from tests.console.rows import count_queries, text_of
from tests.console.test_outbound_gateway import page_of
from tests.console.test_stored_passwords import PAGE, store
from tests.delivery.outbox import deliver, put
from tests.sendas.conftest import (  # noqa: F401  (fixtures)
    CANARY,
    authority,
    open_ports,
    partner,
    trusted,
)
from tests.sendas.test_outbound_gateway import relay  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)
HOST = "localhost"


@pytest.fixture
def named(unit_admin, organisation, relay):  # noqa: F811
    """Sales and Partner desk sign in there; a former sign-in of Sales is kept for an undo."""
    for unit, based_on, password in (
        (organisation.sales, 0, CANARY),
        (organisation.sales, 1, CANARY),
        (organisation.partner_desk, 0, CANARY),
    ):
        host = relay._replace(password=password)
        change_outbound_gateway(
            actor=Actor(unit_admin), unit=unit, smart_host=host, based_on=based_on
        )
    return relay


def test_they_are_counted_and_their_units_named(client, super_admin, owner, named):
    store(owner, host=HOST)
    client.force_login(super_admin)
    assert "localhost Passwords 1 Sign-ins of gateways 3" in text_of(client.get(PAGE))
    words = text_of(client.get(f"{PAGE}{HOST}/"))
    assert "Sign-ins of gateways 3" in words
    for unit in ("yourdomain.com › Sales", "yourdomain.com › Sales › Partner desk"):
        assert f"{unit} " in words


def test_without_the_tick_they_stay(client, super_admin, owner, named):
    store(owner, host=HOST)
    client.force_login(super_admin)
    client.post(f"{PAGE}{HOST}/", {"reason": ""})
    assert not SmtpMsa.objects.with_password().exists()
    assert SmartHostCredential.objects.with_password().count() == 3
    # Then nothing else is left there, and the tick is what the button is for.
    words = text_of(client.post(f"{PAGE}{HOST}/", {"reason": "As typed"}))
    assert "tick this to wipe it" in words
    assert "Wipe the sign-ins" in words
    assert SmartHostCredential.objects.with_password().count() == 3


def test_with_it_they_go_are_in_the_audit_and_each_unit_hears(
    client, super_admin, unit_admin, organisation, owner, named
):
    store(owner, host=HOST)
    client.force_login(super_admin)
    done = client.post(f"{PAGE}{HOST}/", {"with_sign_ins": "on", "reason": "Stolen"}, follow=True)
    words = text_of(done)
    assert "1 password for localhost is wiped" in words
    assert "3 sign-ins of outbound gateways at localhost are wiped" in words
    for row in SmartHostCredential.objects.all():
        assert (bytes(row.ciphertext), row.key_id, row.has_password) == (b"", "", False)
        with pytest.raises(SmtpFailure) as failure:
            smart_host_sign_in(row.pk)
        assert failure.value.kind == FailureKind.AUTH_REFUSED
    assert count_on_old_keys() == 0
    event = AuditEvent.objects.get(name="passwords_wiped")
    assert event.details == {"accounts": 1, "addresses": 1, "sign_ins": 3, "reason": "Stolen"}
    told = AuditEvent.objects.filter(name="sign_in_wiped").order_by("unit_path")
    assert [(row.unit_path, row.details) for row in told] == [
        ("yourdomain.com › Sales", {"reason": "Stolen"}),
        ("yourdomain.com › Sales › Partner desk", {"reason": "Stolen"}),
    ]
    client.force_login(unit_admin)
    words = text_of(client.get(page_of(organisation.sales)))
    assert "The password for localhost was wiped at" in words
    assert "leave empty to keep" not in words


def test_mail_waits_until_the_password_is_typed_again(
    unit_admin,
    organisation,
    owner,
    named,
    partner,  # noqa: F811
):
    change = PolicyChange.objects.order_by("-pk")[0]
    applied = AppliedPolicy.objects.create(
        cohort=owner.cohort, unit=owner.unit, setting=Setting.OUTBOUND_GATEWAY, version=1,
        value=change.new,
    )  # fmt: skip
    wipe_passwords(actor=SYSTEM, host=HOST, with_sign_ins=True)
    tried = list(partner.tried)
    message = put(owner)
    deliver()
    message.refresh_from_db()
    assert message.state == OutboxMessage.State.WAITING
    assert "The password for our server localhost was wiped" in message.last_reply
    assert partner.tried == tried
    with pytest.raises(ValidationError, match="Type the password again"):
        change_outbound_gateway(
            actor=Actor(unit_admin), unit=organisation.partner_desk,
            smart_host=named._replace(password=""), based_on=1,
        )  # fmt: skip
    again = change_outbound_gateway(
        actor=Actor(unit_admin), unit=organisation.partner_desk, smart_host=named, based_on=1
    )
    AppliedPolicy.objects.filter(pk=applied.pk).update(value=again.new, version=2)
    OutboxMessage.objects.update(next_attempt_at=message.created_at)
    deliver()
    message.refresh_from_db()
    assert message.state == OutboxMessage.State.SENT


def test_more_units_cost_the_same_queries(client, super_admin, unit_admin, organisation, relay):  # noqa: F811
    client.force_login(super_admin)
    counts = []
    for unit in (organisation.sales, organisation.partner_desk):
        change_outbound_gateway(actor=Actor(unit_admin), unit=unit, smart_host=relay, based_on=0)
        counts.append(count_queries(lambda: client.get(f"{PAGE}{HOST}/")))
    assert counts[0] == counts[1]

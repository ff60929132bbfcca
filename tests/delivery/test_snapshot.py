"""The one statement that mail uses sees what the pages see."""

import asyncio
import random
from itertools import product

import pytest

from accounts.models import Alias, Domain, OrgUnit, User
from accounts.services.app_passwords import create_app_password, revoke_app_password
from accounts.services.audit import SYSTEM
from delivery.link import Link
from delivery.services import load_account, load_settings
from delivery.snapshot import Snapshot, load_snapshot
from policies.models import AppliedPolicy, GatewayFailure, Setting
from sendas.models import Approval, SendAs, SmtpMsa

pytestmark = pytest.mark.django_db(transaction=True)

DOMAINS = ["yourdomain.com", "second.example", "short.example", "partner.example", "other.example"]


def load(app_password_id: int) -> Snapshot | None:
    async def work() -> Snapshot | None:
        link = Link()
        try:
            return await load_snapshot(link, app_password_id)
        finally:
            await link.close()

    return asyncio.run(work())


def make_addresses(chance: random.Random, user: User) -> None:
    for number in range(chance.randrange(4)):
        Alias.objects.create(user=user, address=f"alias{number}@{chance.choice(DOMAINS)}")
    for number in range(chance.randrange(6)):
        send_as = SendAs.objects.create(
            user=user,
            send_as_email=f"{chance.choice(['alias', 'outside'])}{number}@{chance.choice(DOMAINS)}",
            verification_status=chance.choice(["", "pending", "accepted", "accepted"]),
        )
        if send_as.is_accepted and chance.random() < 0.3:
            suspend_address(send_as)
        if chance.random() < 0.6:
            SmtpMsa.objects.create(
                send_as=send_as, host="smtp.partner.example", port=chance.choice([465, 587]),
                security_mode=chance.choice(["ssl", "starttls"]), username="x", key_id="test",
                ciphertext=b"", refused_at=chance.choice([None, "2026-01-01T00:00Z"]),
                approval=chance.choice(Approval.values),
            )  # fmt: skip
            if chance.random() < 0.2:
                SmtpMsa.objects.filter(send_as=send_as).update(
                    wiped_at="2026-01-01T00:00Z", key_id="", refused_at=None
                )


def suspend_address(send_as: SendAs) -> None:
    long_ago = "2026-01-01T00:00Z"
    SendAs.objects.filter(pk=send_as.pk).update(
        asked_at=long_ago, proof_due_at=long_ago, suspended_at=long_ago
    )


def make_domains(chance: random.Random) -> None:
    primary = Domain.objects.get(kind=Domain.Kind.PRIMARY)
    for name in DOMAINS[1:]:
        kind = chance.choice([None, Domain.Kind.SECONDARY, Domain.Kind.ALIAS])
        if kind:
            target = primary if kind == Domain.Kind.ALIAS else None
            Domain.objects.create(name=name, kind=kind, alias_of=target)


VALUES = {
    Setting.PER_USER_OUTBOUND_GATEWAY: [None, {"allowed": True}, {"allowed": False}],
    Setting.GATEWAY_FAILURE: [None, *({"choice": choice} for choice in GatewayFailure.values)],
}


def make_policies(chance: random.Random, user: User) -> None:
    for unit in OrgUnit.objects.all():
        for cohort, setting in product((user.cohort, user.cohort + 1), VALUES):
            if chance.random() < 0.5:
                AppliedPolicy.objects.create(
                    cohort=cohort, unit=unit, setting=setting,
                    value=chance.choice(VALUES[setting]), version=chance.randrange(1, 9),
                )  # fmt: skip


GUARDRAILS = [
    {"servers": {"allowed": ["*.partner.example"], "denied": []}},
    {"connection": {"ports": [465], "least_tls": "1.3", "tls_from_start": True}},
    {"approval": {"needed": True}, "servers": {"allowed": [], "denied": []}},
    {"recipients": {"per_hour": 5, "per_day": None}, "addresses": {"most": 3}},
    {},
    None,
]


OUTBOUND = [
    {"server": None},
    {"server": {
        "host": "relay.example", "port": 25, "security_mode": "none", "credential_id": None,
    }},
    {"server": {
        "host": "relay.example", "port": 587, "security_mode": "starttls",
        "credential_id": "00000000-0000-0000-0000-000000000007",
    }},
    None,
]  # fmt: skip


def make_outbound_gateways(chance: random.Random, user: User) -> None:
    for unit in OrgUnit.objects.all():
        if chance.random() < 0.5:
            AppliedPolicy.objects.create(
                cohort=user.cohort, unit=unit, setting=Setting.OUTBOUND_GATEWAY,
                value=chance.choice(OUTBOUND), version=1,
            )  # fmt: skip


def make_guardrails(chance: random.Random, user: User) -> None:
    for unit in OrgUnit.objects.all():
        for cohort in (user.cohort, user.cohort + 1):
            if chance.random() < 0.7:
                AppliedPolicy.objects.create(
                    cohort=cohort, unit=unit, setting=Setting.GATEWAY_GUARDRAILS,
                    value=chance.choice(GUARDRAILS), version=chance.randrange(1, 9),
                )  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_any_account_is_the_same_by_both_ways(owner, colleague, stranger, seed):
    chance = random.Random(seed)
    make_domains(chance)
    user = chance.choice([owner, stranger])
    make_addresses(chance, user)
    make_addresses(random.Random(seed + 1000), colleague) if not user.aliases.exists() else None
    make_policies(chance, user)
    make_guardrails(chance, user)
    make_outbound_gateways(chance, user)
    User.objects.filter(pk=user.pk).update(suspended=chance.random() < 0.2)
    user = User.objects.select_related("unit").get(pk=user.pk)
    app_password, _secret = create_app_password(actor=SYSTEM, user=user, name="Laptop")
    assert load(app_password.pk) == Snapshot(load_account(user), load_settings(user))


def test_an_app_password_that_is_gone_counts_as_revoked(owner):
    app_password, _secret = create_app_password(actor=SYSTEM, user=owner, name="Laptop")
    number = app_password.pk
    assert load(number)
    revoke_app_password(actor=SYSTEM, app_password=app_password)
    assert load(number) is None
    app_password.delete()
    assert load(number) is None

"""What ends the right of an open session to send: within a second, wherever the session is."""

import smtplib
from collections.abc import Callable
from typing import NamedTuple

import pytest
from django.utils import timezone

from accounts.models import AppPassword, User
from accounts.services.app_passwords import revoke_app_password
from accounts.services.audit import SYSTEM
from accounts.services.people import suspend_user
from config.demo_organisation import PARTNER_ADDRESS
from delivery.models import Delivery
from policies.models import PolicyChange, RolloutWave, Setting
from sendas.models import Approval, SendAs, SmtpMsa
from sendas.services.reproof import ask_again, suspend_lapsed
from sendas.services.wiping import wipe_passwords
from tests.policies.rows import apply_wave
from tests.processes import until
from tests.submission.conftest import give_scripted_gateway

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
OFF = {"allowed": False}
MESSAGE = f"From: {PARTNER_ADDRESS}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n"

pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """`change` ends a right; `words` is what the next message hears, None where it is taken."""

    change: Callable[[User], object]
    words: str | None


def revoke(user: User) -> None:
    revoke_app_password(actor=SYSTEM, app_password=AppPassword.objects.get(user=user))


def remove_address(user: User) -> None:
    SendAs.objects.get(user=user).delete()


def let_proof_lapse(user: User) -> None:
    send_as = SendAs.objects.get(user=user)
    assert ask_again(send_as=send_as, reason=SendAs.AskReason.BOUNCE)
    SendAs.objects.update(proof_due_at=timezone.now())
    assert suspend_lapsed() == 1


def wipe(user: User) -> None:
    assert wipe_passwords(actor=SYSTEM, host="localhost").addresses == 1


def apply_due_wave(
    user: User, setting: str = Setting.PER_USER_OUTBOUND_GATEWAY, new: object = OFF
) -> None:
    """The rollout's own task, with a change that ends the account's gateway."""
    now = timezone.now()
    change = PolicyChange.objects.create(
        unit_id=user.unit_id, unit_path="Partner desk", version=2, starts_at=now, complete_by=now,
        setting=setting, old=None, new=new,
    )  # fmt: skip
    wave = RolloutWave.objects.create(change=change, cohort=user.cohort, due_at=now)
    assert apply_wave(wave.pk)


def deny_its_server(user: User) -> None:
    denied = {"servers": {"allowed": [], "denied": ["localhost"]}}
    apply_due_wave(user, Setting.GATEWAY_GUARDRAILS, denied)


def refuse_its_server(user: User) -> None:
    SmtpMsa.objects.filter(send_as__user=user).update(approval=Approval.REFUSED)


CASES = {
    "revoked app password": Case(revoke, "revoked"),
    "suspended account": Case(lambda user: suspend_user(actor=SYSTEM, user=user), "suspended"),
    "removed address": Case(remove_address, "not one of your addresses"),
    "suspended address": Case(let_proof_lapse, "type it there"),
    "wiped password": Case(wipe, "Enter the password again"),
    "applied wave": Case(apply_due_wave, None),
    "denied server": Case(deny_its_server, None),
    "refused approval": Case(refuse_its_server, None),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture
def client(post_office, owner, app_password):
    give_scripted_gateway(owner, post_office)
    with post_office.connect() as client:
        client.login(PRIMARY, app_password)
        yield client


def test_between_two_messages(client, post_office, owner, case):
    with post_office.upstream() as upstream:
        client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
        assert upstream.dots == 1
        case.change(owner)
        post_office.hears_of_changes()
        if case.words is None:
            client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
        else:
            with pytest.raises(smtplib.SMTPDataError, match=case.words):
                client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
        assert upstream.dots == 1
    assert len(post_office.raw("ours")) == (case.words is None)


def test_between_the_header_and_the_final_dot(client, post_office, owner, case):
    with post_office.upstream() as upstream:
        client.mail(PRIMARY)
        client.rcpt(RECIPIENT)
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE)
        until(lambda: Delivery.objects.exists(), 5)
        case.change(owner)
        post_office.hears_of_changes()
        client.send("More\r\n.\r\n")
        code, _text = client.getreply()
        assert code in (451, 550)
        assert upstream.dots == 0
    assert post_office.raw("ours") == []
    until(lambda: Delivery.objects.filter(state=Delivery.State.REFUSED).exists(), 5)


def test_signing_in_again_with_a_remembered_app_password(client, post_office, owner, app_password):
    revoke(owner)
    post_office.hears_of_changes()
    with post_office.connect() as other:
        other.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            other.login(PRIMARY, app_password)

"""Another key for all stored passwords, while they are in use."""

import base64
import io
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.models import AuditEvent
from config.demo_page import code_now
from sendas.credentials import Binding, key_ring, seal
from sendas.models import SendAs, SmtpMsa
from sendas.services.addresses import gateway_password
from sendas.services.rotation import BATCH, rotate_credentials
from tests.second_factors import SECRET, give_second_factor
from tests.sendas.conftest import CANARY

ROWS = 10_000
HOST, PORT, MODE, NAME = "smtp.partnerdomain.com", 587, "starttls", "user.name"


@pytest.fixture
def use_keys(settings):
    """`use_keys("new", "old")`: encrypt with "new" from now on."""
    keys = {name: base64.b64encode(os.urandom(32)).decode() for name in ("old", "new")}

    def use(*names: str) -> None:
        settings.OUTGATE_CREDENTIAL_KEYS = [f"{name}:{keys[name]}" for name in names]
        key_ring.cache_clear()

    use("old")
    yield use
    key_ring.cache_clear()


def make_gateways(user, number: int) -> list[SmtpMsa]:
    rows = SendAs.objects.bulk_create(
        SendAs(
            user=user,
            send_as_email=f"user.{n}@partnerdomain.com",
            verification_status=SendAs.VerificationStatus.ACCEPTED,
        )
        for n in range(number)
    )
    return SmtpMsa.objects.bulk_create(
        SmtpMsa(
            send_as=row, host=HOST, port=PORT, security_mode=MODE, username=NAME, **sealed(row.pk)
        )
        for row in rows
    )


def sealed(send_as_id: int, password: str = CANARY) -> dict[str, object]:
    return seal(password, Binding(send_as_id, HOST, PORT, MODE, NAME))._asdict()


def rotate() -> str:
    told = io.StringIO()
    call_command("rotate_credentials", stdout=told)
    return told.getvalue()


def in_thread(pool, function, *args):
    """With a database connection of its own, closed at the end."""

    def call():
        try:
            return function(*args)
        finally:
            connection.close()

    return pool.submit(call)


def test_every_password_moves_to_the_first_key_and_progress_is_told(owner, use_keys):
    before = {row.pk: row.credential_id for row in make_gateways(owner, BATCH + 1)}
    use_keys("new", "old")
    told = rotate()
    assert f"{BATCH} of {BATCH + 1}\n{BATCH + 1} of {BATCH + 1}\n" in told
    use_keys("new")
    rows = list(SmtpMsa.objects.all())
    assert {row.pk: row.credential_id for row in rows} == before
    assert {gateway_password(row) for row in rows} == {CANARY}
    event = AuditEvent.objects.get(name="credentials_rotated")
    assert (event.target, event.details) == ("new", {"rotated": BATCH + 1})


def test_a_second_run_finds_nothing_to_do(owner, use_keys):
    make_gateways(owner, 1)
    use_keys("new", "old")
    rotate()
    ciphertext = bytes(SmtpMsa.objects.get().ciphertext)
    assert rotate() == "All passwords are under the key new.\n"
    assert bytes(SmtpMsa.objects.get().ciphertext) == ciphertext
    assert AuditEvent.objects.filter(name="credentials_rotated").count() == 1


def test_a_wiped_password_is_none(owner, use_keys):
    wiped, _kept = make_gateways(owner, 2)
    SmtpMsa.objects.filter(pk=wiped.pk).update(wiped_at=Now(), key_id="", ciphertext=b"")
    use_keys("new", "old")
    rotate()
    assert AuditEvent.objects.get(name="credentials_rotated").details == {"rotated": 1}


def test_a_password_whose_key_is_gone_is_told_and_kept(owner, use_keys):
    lost, kept = make_gateways(owner, 2)
    SmtpMsa.objects.filter(pk=lost.pk).update(key_id="gone")
    use_keys("new", "old")
    with pytest.raises(CommandError, match=r"^1 passwords can't be read"):
        rotate()
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert (lost.key_id, kept.key_id) == ("gone", "new")


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_held_is_waited_for_at_the_end(owner, use_keys):
    held, *_others = make_gateways(owner, 3)
    use_keys("new", "old")
    holding, passed_by = Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            SmtpMsa.objects.select_for_update().get(pk=held.pk)
            holding.set()
            assert passed_by.wait(20)

    with ThreadPoolExecutor(1) as pool:
        holder = in_thread(pool, hold)
        assert holding.wait(20)
        steps = rotate_credentials()
        assert next(steps).rotated == 2
        passed_by.set()
        assert [step.rotated for step in steps] == [3]
        holder.result(20)
    assert set(SmtpMsa.objects.values_list("key_id", flat=True)) == {"new"}


@pytest.mark.django_db(transaction=True)
def test_two_rotations_share_the_work(owner, use_keys):
    make_gateways(owner, 5 * BATCH)
    use_keys("new", "old")
    with ThreadPoolExecutor(2) as pool:
        runs = [in_thread(pool, lambda: [*rotate_credentials()][-1]) for _ in range(2)]
        totals = [run.result(60) for run in runs]
    assert sum(total.rotated for total in totals) == 5 * BATCH
    assert set(SmtpMsa.objects.values_list("key_id", flat=True)) == {"new"}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_ten_thousand_passwords_change_their_key_under_traffic(owner, use_keys):
    rows = make_gateways(owner, ROWS)
    before = {row.pk: row.credential_id for row in rows}
    typed, deleted = rows[3::97], rows[5::101]
    deleted = [row for row in deleted if row not in typed]
    use_keys("new", "old")
    done = Event()
    replaced: dict[int, uuid.UUID] = {}

    def read() -> int:
        """As the relay does, all over again."""
        count = 0
        while not done.is_set():
            row = SmtpMsa.objects.order_by("?").first()
            assert gateway_password(row) in (CANARY, "another")
            count += 1
        return count

    def type_anew() -> None:
        for row in typed:
            with transaction.atomic():
                kept = SmtpMsa.objects.select_for_update().get(pk=row.pk)
                kept.credential_id = replaced[row.pk] = uuid.uuid4()
                for name, value in sealed(row.send_as_id, "another").items():
                    setattr(kept, name, value)
                kept.save()

    def delete() -> None:
        for row in deleted:
            SendAs.objects.get(pk=row.send_as_id).delete()

    with ThreadPoolExecutor(4) as pool:
        readers = [in_thread(pool, read) for _ in range(2)]
        writers = [in_thread(pool, type_anew), in_thread(pool, delete)]
        try:
            last = [*rotate_credentials()][-1]
            for writer in writers:
                writer.result(120)
        finally:
            done.set()
        assert all(reader.result(60) for reader in readers)
    assert last.unreadable == 0
    use_keys("new")
    after = {row.pk: row for row in SmtpMsa.objects.all()}
    gone = {row.pk for row in deleted}
    assert set(after) == set(before) - gone
    for pk, row in after.items():
        assert row.key_id == "new"
        assert row.credential_id == replaced.get(pk, before[pk])
        assert gateway_password(row) == ("another" if pk in replaced else CANARY)


def test_second_factors_change_their_key_and_go_on(owner, use_keys):
    factor = give_second_factor(owner)
    codes = RecoveryCodes.activate(owner)
    opens = codes.get_unused_codes()[0]
    use_keys("new", "old")
    assert rotate() == "All passwords are under the key new.\n"
    use_keys("new")
    factor.refresh_from_db()
    codes.instance.refresh_from_db()
    assert factor.wrap().validate_code(code_now(SECRET))
    assert codes.validate_code(opens)
    assert AuditEvent.objects.filter(name="second_factors_rotated").count() == 1

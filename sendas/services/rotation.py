"""Stored passwords move to the ring's first key, in small steps, while mail goes on."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models import QuerySet

from accounts.services.audit import SYSTEM, record_event
from sendas.credentials import Binding, CredentialError, current_key_id, seal
from sendas.models import SmartHostCredential, SmtpMsa
from sendas.second_factor import seal_text, unseal_text
from sendas.services.addresses import binding_of, gateway_password
from sendas.services.outbound_gateway import binding_of_sign_in, sign_in_password

BATCH = 200  # rows locked at a time: some tens of milliseconds


class Progress(NamedTuple):
    """How far a rotation came. `unreadable` rows have lost their key and stay as they are."""

    rotated: int = 0
    unreadable: int = 0

    def plus(self, other: "Progress") -> "Progress":
        return Progress(self.rotated + other.rotated, self.unreadable + other.unreadable)


class Kind(NamedTuple):
    """A table with passwords."""

    with_password: Callable[[], QuerySet[Any]]
    password: Callable[[Any], str]
    binding: Callable[[Any], Binding]

    def on_old_keys(self) -> QuerySet[Any]:
        return self.with_password().exclude(key_id=current_key_id())


KINDS = (
    Kind(SmtpMsa.objects.with_password, gateway_password, binding_of),
    Kind(SmartHostCredential.objects.with_password, sign_in_password, binding_of_sign_in),
)


def count_on_old_keys() -> int:
    return sum(kind.on_old_keys().count() for kind in KINDS)


def rotate_credentials() -> Iterator[Progress]:
    """Yield the progress after each batch; every batch is a transaction of its own.

    1. All rows on old keys, by id, but those that somebody holds at the moment: a second rotation,
       or an owner who types a new password, which takes the first key anyway.
    2. Those that were left out, this time waiting for them.

    Neither `credential_id` nor the server changes, so open connections and queued mail go on.
    """
    done = Progress()
    for kind in KINDS:
        total = Progress()
        for total in _rotate_kind(kind):
            yield done.plus(total)
        done = done.plus(total)
    if done.rotated:
        record_event(SYSTEM, "credentials_rotated", current_key_id(), rotated=done.rotated)


def _rotate_kind(kind: Kind) -> Iterator[Progress]:
    total = Progress()
    for skip_locked in (True, False):
        unreadable = 0
        left = kind.on_old_keys().order_by("pk")
        while rows := list(left[:BATCH]):
            left = kind.on_old_keys().filter(pk__gt=rows[-1].pk).order_by("pk")
            batch = _rotate(kind, [row.pk for row in rows], skip_locked=skip_locked)
            total = total.plus(batch._replace(unreadable=0))
            unreadable += batch.unreadable
            yield total._replace(unreadable=unreadable)


def _rotate(kind: Kind, pks: list[Any], *, skip_locked: bool) -> Progress:
    with transaction.atomic():
        # The condition is asked again of a row that was waited for: it may have moved meanwhile.
        rows = kind.on_old_keys().filter(pk__in=pks).order_by("pk")
        readable = []
        held = list(rows.select_for_update(skip_locked=skip_locked, no_key=True))
        for row in held:
            try:
                sealed = seal(kind.password(row), kind.binding(row))
            except CredentialError:
                continue
            row.key_id, row.ciphertext = sealed
            readable.append(row)
        kind.with_password().bulk_update(readable, ["key_id", "ciphertext"])
    return Progress(len(readable), len(held) - len(readable))


# What django-allauth keeps sealed of each kind of second factor.
SEALED = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}


def second_factors_on_old_keys() -> list[int]:
    held = Authenticator.objects.filter(type__in=SEALED).values_list("pk", "type", "data")
    current = f"{current_key_id()}:"
    return [pk for pk, kind, data in held if not data[SEALED[kind]].startswith(current)]


def rotate_second_factors() -> Progress:
    """One row at a time: each is the whole JSON, in which a recovery code may be marked used."""
    progress = Progress()
    for pk in second_factors_on_old_keys():
        with transaction.atomic():
            row = Authenticator.objects.select_for_update(no_key=True).filter(pk=pk).first()
            if row is None:
                continue
            key = SEALED[row.type]
            try:
                row.data[key] = seal_text(unseal_text(row.data[key]))
            except CredentialError:
                progress = progress.plus(Progress(unreadable=1))
                continue
            row.save(update_fields=["data"])
        progress = progress.plus(Progress(rotated=1))
    if progress.rotated:
        record_event(SYSTEM, "second_factors_rotated", current_key_id(), rotated=progress.rotated)
    return progress

"""SMTP passwords at rest: AES-256-GCM under a ring of keys that lies outside the database."""

import base64
import os
from functools import cache
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

NONCE_BYTES = 12  # NIST SP 800-38D, section 8.2: 96 bits, at random
KEY_BYTES = 32


class CredentialError(Exception):
    """The password can't be read: its key is gone, or the row is not the one it was written for."""


class Binding(NamedTuple):
    """What a password belongs to; it decrypts for nothing else."""

    owner: int | UUID  # the row that names the server
    host: str
    port: int
    security_mode: str
    username: str

    def encode(self) -> bytes:
        return "\0".join(str(part) for part in self).encode()


class Sealed(NamedTuple):
    key_id: str
    ciphertext: bytes  # nonce, then AES-GCM's output


@cache
def key_ring() -> dict[str, AESGCM]:
    """The keys by id; the first one encrypts. Raises ImproperlyConfigured for a malformed ring."""
    ring = {}
    for entry in settings.OUTGATE_CREDENTIAL_KEYS:
        key_id, _colon, encoded = entry.partition(":")
        key = base64.b64decode(encoded, validate=True)
        if not key_id or len(key) != KEY_BYTES:
            raise ImproperlyConfigured(
                "OUTGATE_CREDENTIAL_KEYS holds 'id:key' entries, each key 32 bytes in base64."
            )
        ring[key_id] = AESGCM(key)
    if not ring:
        raise ImproperlyConfigured("OUTGATE_CREDENTIAL_KEYS is empty.")
    return ring


def current_key_id() -> str:
    """The key that encrypts."""
    return next(iter(key_ring()))


# Fault reports show the variables of each function, but for those that are named so.
@sensitive_variables()
def seal(password: str, binding: Binding) -> Sealed:
    key_id = current_key_id()
    key = key_ring()[key_id]
    nonce = os.urandom(NONCE_BYTES)
    return Sealed(key_id, nonce + key.encrypt(nonce, password.encode(), binding.encode()))


@sensitive_variables()
def unseal(sealed: Sealed, binding: Binding) -> str:
    """Raise CredentialError where the key is not in the ring, or the binding is another."""
    key = key_ring().get(sealed.key_id)
    if key is None:
        raise CredentialError(f"Key {sealed.key_id} is not in the key ring.")
    nonce, box = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
    try:
        return key.decrypt(nonce, box, binding.encode()).decode()
    except InvalidTag:
        raise CredentialError("The stored password belongs to another server.") from None

"""Secrets of second factors at rest: under the same ring of keys as SMTP passwords."""

import base64
import os

from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.exceptions import InvalidTag
from django.utils.translation import gettext_lazy as _

from sendas.credentials import NONCE_BYTES, CredentialError, current_key_id, key_ring

# django-allauth tells neither row nor account: only the purpose is bound.
PURPOSE = b"second factor"


def seal_text(text: str) -> str:
    """`key id:base64`, of a nonce and AES-GCM's output."""
    key_id = current_key_id()
    nonce = os.urandom(NONCE_BYTES)
    box = nonce + key_ring()[key_id].encrypt(nonce, text.encode(), PURPOSE)
    return f"{key_id}:{base64.b64encode(box).decode()}"


def unseal_text(sealed: str) -> str:
    """Raise CredentialError where the key is not in the ring, or the text was changed."""
    key_id, _colon, encoded = sealed.partition(":")
    key = key_ring().get(key_id)
    if key is None:
        raise CredentialError(f"Key {key_id} is not in the key ring.")
    box = base64.b64decode(encoded)
    try:
        return key.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], PURPOSE).decode()
    except InvalidTag:
        raise CredentialError("The stored secret was changed.") from None


class SecondFactorAdapter(DefaultMFAAdapter):
    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": _(
            "That code does not hold: it is mistyped, used or over. Type the one shown now."
        ),
    }

    def encrypt(self, text: str) -> str:
        return seal_text(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal_text(encrypted_text)

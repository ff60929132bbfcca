"""Content of the outbox at rest: AES-256-GCM by chunks, under the key ring of the credentials.

Each chunk is bound to its message, its number and to being the last one or not. One that was moved,
exchanged, cut off or taken from another message does not decrypt.
"""

import os
import struct
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag

from sendas.credentials import NONCE_BYTES, key_ring

CHUNK_BYTES = 262_144
_PURPOSE = b"outbox"  # no credential's binding begins so: those begin with a number


class ContentError(Exception):
    """The stored content can't be read: a key is gone, or a chunk is not the one it should be."""


class Place(NamedTuple):
    """Where a chunk belongs."""

    message_id: UUID
    number: int
    is_last: bool

    def encode(self) -> bytes:
        return _PURPOSE + struct.pack(">16sI?", self.message_id.bytes, self.number, self.is_last)


class SealedChunk(NamedTuple):
    key_id: str
    ciphertext: bytes  # nonce, then AES-GCM's output


def seal_chunk(content: bytes, place: Place) -> SealedChunk:
    key_id, key = next(iter(key_ring().items()))
    nonce = os.urandom(NONCE_BYTES)
    return SealedChunk(key_id, nonce + key.encrypt(nonce, content, place.encode()))


def unseal_chunk(sealed: SealedChunk, place: Place) -> bytes:
    """Raise ContentError where the key is not in the ring, or the place is another."""
    key = key_ring().get(sealed.key_id)
    if key is None:
        raise ContentError(f"Key {sealed.key_id} is not in the key ring.")
    nonce, box = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
    try:
        return key.decrypt(nonce, box, place.encode())
    except InvalidTag:
        raise ContentError(f"Chunk {place.number} is not the one that was stored.") from None

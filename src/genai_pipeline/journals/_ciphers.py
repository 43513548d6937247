"""The ciphers of an encrypted journal; the only module that imports `cryptography`."""

from __future__ import annotations

import os

from genai_pipeline.errors import ConfigurationError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
except ImportError as missing:
    raise ConfigurationError(
        "encrypting a journal needs a package: pip install 'genai_pipeline[crypto]'"
    ) from missing

__all__ = ["KEY_BYTES", "Cipher", "Tampered", "new_key", "unwrapped", "wrapped"]

KEY_BYTES = 32
_NONCE = 12


class Tampered(Exception):
    """Raised for what this key did not seal, or not for this place."""


def new_key() -> bytes:
    """Answer a new random key of 256 bits."""
    return os.urandom(KEY_BYTES)


def wrapped(key: bytes, data_key: bytes, context: bytes) -> bytes:
    """Answer *data_key* under *key* by AES-256-GCM: a random nonce of 12 bytes, then the rest."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data_key, context)


def unwrapped(key: bytes, kept: bytes, context: bytes) -> bytes:
    """Answer what was wrapped; raises `Tampered` for another key or context."""
    try:
        return AESGCM(key).decrypt(kept[:_NONCE], kept[_NONCE:], context)
    except (InvalidTag, ValueError) as error:
        raise Tampered from error


class Cipher:
    """
    What is done with one data key of 32 bytes; every use has a key of its own made of it.

    `seal` is AES-256-GCM with a random nonce; `seal_alike` is AES-SIV (RFC 5297), by which equal
    texts of equal places become equal, so that they can be found.
    """

    __slots__ = ("_gcm", "_siv", "_wrapping", "check", "secret")

    def __init__(self, key: bytes) -> None:
        self._gcm = AESGCM(_derived(key, b"bodies", 32))
        self._siv = AESSIV(_derived(key, b"words", 64))
        self._wrapping = _derived(key, b"wrapping", 32)
        self.secret = _derived(key, b"names", 32)
        """By which keys of records become names that nobody else can guess."""

        self.check = _derived(key, b"check", 16)
        """Tells whether a key is this one, and nothing else of it."""

    def seal(self, data: bytes, place: bytes) -> bytes:
        """Answer *data* sealed for *place*."""
        nonce = os.urandom(_NONCE)
        return nonce + self._gcm.encrypt(nonce, data, place)

    def unseal(self, kept: bytes, place: bytes) -> bytes:
        """Answer what was sealed for *place*; raises `Tampered`."""
        try:
            return self._gcm.decrypt(kept[:_NONCE], kept[_NONCE:], place)
        except (InvalidTag, ValueError) as error:
            raise Tampered from error

    def seal_alike(self, data: bytes, place: bytes) -> bytes:
        """Answer *data* sealed for *place*, each time alike."""
        return self._siv.encrypt(data, [place])

    def unseal_alike(self, kept: bytes, place: bytes) -> bytes:
        """Answer what was sealed alike; raises `Tampered`."""
        try:
            return self._siv.decrypt(kept, [place])
        except (InvalidTag, ValueError) as error:
            raise Tampered from error

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Answer another data key under this one."""
        return wrapped(self._wrapping, key, context)

    def unwrap(self, kept: bytes, context: bytes) -> bytes:
        """Answer what was wrapped by this one; raises `Tampered`."""
        return unwrapped(self._wrapping, kept, context)


def _derived(key: bytes, use: bytes, length: int) -> bytes:
    info = b"genai_pipeline journal " + use
    return HKDFExpand(algorithm=SHA256(), length=length, info=info).derive(key)

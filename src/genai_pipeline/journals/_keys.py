"""Who keeps the keys of encrypted journals: this process, a file, or a service."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, Self

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError

__all__ = ["KeyCallbacks", "KeyProvider", "LocalKeys"]

_BYTES = 32
_PRINTED = 44


class KeyProvider(Protocol):
    """
    Wraps the data key of a journal by a key that the journal never sees.

    It is asked when a journal is made, each time it is entered, and to rotate: never for each
    record. It may block for as long as a service takes. Proved by `testing.KeyProviderContract`.
    """

    @property
    def key_id(self) -> str:
        """Which key wraps from now on; kept in the file, so no secret."""
        ...

    def wrap(self, data_key: bytes, context: bytes, /) -> bytes:
        """Answer *data_key*, 32 bytes, encrypted by the key ``key_id`` and bound to *context*."""
        ...

    def unwrap(self, wrapped: bytes, key_id: str, context: bytes, /) -> bytes:
        """
        Answer the data key that was wrapped by the key *key_id* for *context*.

        Raises `ConfigurationError` when the key is not there, is another, or may not be used,
        and when *wrapped* or *context* is not what it was.
        """
        ...


def _to_keys(keys: bytes | Iterable[bytes]) -> tuple[bytes, ...]:
    return (keys,) if isinstance(keys, bytes) else tuple(keys)


@attrs.frozen
class LocalKeys:
    """
    Keys that this process knows, 32 random bytes each; the first one wraps, all unwrap.

    ::

        keys = gp.journals.LocalKeys.from_file("journal.key")

    To rotate, put a new key before the old one; once every journal was rotated, drop the old.
    """

    keys: tuple[bytes, ...] = attrs.field(converter=_to_keys, repr=False)

    def __attrs_post_init__(self) -> None:
        fine = bool(self.keys) and all(
            isinstance(key, bytes) and len(key) == _BYTES for key in self.keys
        )
        if not fine:  # not by `check`, which would tell the keys
            raise ConfigurationError("LocalKeys: keys=…; give one or more keys of 32 bytes")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """
        Read the keys in the file *path*: base64 or hex, one a line; ``#`` begins a remark.

        ``(umask 077; openssl rand -base64 32 > journal.key)`` makes one. Raises
        `ConfigurationError` when it cannot be read, holds anything else, or others than its
        owner may read it.
        """
        place = f"LocalKeys.from_file: path={str(path)!r}"
        try:
            with Path(path).open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read(1 << 16).decode("ascii", "replace")
        except OSError as error:
            raise ConfigurationError(f"{place}: {error.strerror}; give a file of keys") from error
        if mode & 0o077:
            raise ConfigurationError(
                f"{place}: others than its owner may use it (mode {mode:04o}); chmod 600 it"
            )
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return cls(_parsed(filter(None, lines), place))

    @classmethod
    def from_environment(cls, name: str) -> Self:
        """
        Read the keys in the environment variable *name*: base64 or hex, with spaces between.

        Raises `ConfigurationError` when it is not set, or holds anything else.
        """
        place = f"LocalKeys.from_environment: name={name!r}"
        text = os.environ.get(name)
        if text is None:
            raise ConfigurationError(f"{place}: it is not set; set it to a key in base64")
        return cls(_parsed(text.split(), place))

    @property
    def key_id(self) -> str:
        """Tells the first key from others, and tells nothing else of it."""
        return _id_of(self.keys[0])

    def wrap(self, data_key: bytes, context: bytes, /) -> bytes:
        """Answer *data_key* under the first key, by AES-256-GCM."""
        from genai_pipeline.journals import _ciphers  # noqa: PLC0415 - an extra

        return _ciphers.wrapped(self.keys[0], data_key, context)

    def unwrap(self, wrapped: bytes, key_id: str, context: bytes, /) -> bytes:
        """Answer what was wrapped by the key *key_id*, one of these."""
        from genai_pipeline.journals import _ciphers  # noqa: PLC0415 - an extra

        for key in self.keys:
            if _id_of(key) == key_id:
                try:
                    return _ciphers.unwrapped(key, wrapped, context)
                except _ciphers.Tampered as error:
                    raise ConfigurationError(
                        f"LocalKeys: the data key under key {key_id!r} is damaged, or another's"
                    ) from error
        known = ", ".join(repr(_id_of(key)) for key in self.keys)
        raise ConfigurationError(
            f"LocalKeys: the data key is wrapped by key {key_id!r}, which is not among the keys "
            f"given ({known}); give that one too"
        )


def _id_of(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=4, person=b"gp key id").hexdigest()


def _parsed(words: Iterable[str], place: str) -> list[bytes]:
    keys = []
    for number, word in enumerate(words, 1):
        try:
            key = (
                base64.b64decode(word, validate=True)
                if len(word) == _PRINTED
                else bytes.fromhex(word)
            )
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != _BYTES:
            raise ConfigurationError(
                f"{place}: its entry {number} is no key of 32 bytes in base64 or hex; "
                "`openssl rand -base64 32` makes one"
            )
        keys.append(key)
    if not keys:
        raise ConfigurationError(f"{place}: it is empty; `openssl rand -base64 32` makes a key")
    return keys


@attrs.frozen
class KeyCallbacks:
    """
    Keys of a service, by two functions of yours; for one that has more to it, write a class.

    ::

        keys = gp.journals.KeyCallbacks("alias/journal", wrap, unwrap)

    What a function raises that is no error of this library becomes a `ConfigurationError`.
    """

    key_id: str = attrs.field(validator=_options.text)
    _wrap: Callable[[bytes, bytes], bytes] = attrs.field(
        validator=_options.function("data_key and context"), repr=False
    )
    """``wrap(data_key, context)``"""

    _unwrap: Callable[[bytes, str, bytes], bytes] = attrs.field(
        validator=_options.function("wrapped, key_id and context"), repr=False
    )
    """``unwrap(wrapped, key_id, context)``"""

    def wrap(self, data_key: bytes, context: bytes, /) -> bytes:
        """Answer what the first function answers."""
        try:
            return self._wrap(data_key, context)
        except Exception as error:
            raise self._failure("wrap", self.key_id, error) from error

    def unwrap(self, wrapped: bytes, key_id: str, context: bytes, /) -> bytes:
        """Answer what the second function answers."""
        try:
            key = self._unwrap(wrapped, key_id, context)
        except Exception as error:
            raise self._failure("unwrap", key_id, error) from error
        check(len(key) == _BYTES, self, "unwrap", f"{len(key)} bytes", "a function of 32 bytes")
        return key

    def _failure(self, what: str, key_id: str, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"KeyCallbacks: {what} by the key {key_id!r} failed: {type(error).__name__}: {error}"
        )

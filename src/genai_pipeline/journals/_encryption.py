"""`Encryption`: everything a journal keeps of records, under keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from genai_pipeline._options import check
from genai_pipeline.journals._codec import Codec
from genai_pipeline.journals._connection import Connect
from genai_pipeline.journals._keys import KeyProvider
from genai_pipeline.journals._vault import Vault

__all__ = ["Encryption", "is_codec", "make_vault"]


def _is_provider(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = hasattr(value, "key_id") and all(
        callable(getattr(value, name, None)) for name in ("wrap", "unwrap")
    )
    fine = fine and not isinstance(value, type)
    allowed = 'keys, such as gp.journals.LocalKeys.from_file("journal.key")'
    check(fine, owner, option.name, value, allowed)


@attrs.frozen
class Encryption:
    """
    Encrypts what a journal keeps of records, by AES-256-GCM under a data key of the file.

    ::

        keys = gp.journals.LocalKeys.from_file("journal.key")
        journal = gp.Sqlite("run.db", codec=gp.journals.Encryption(keys))

    Encrypted are answers with their headers, dead letters, gathered groups, messages of errors,
    keys of records, labels, and the names of budgets; what stands for records and requests cannot
    be guessed without the key. To be read without it are the names of pipelines, stages, providers
    and models, classes of errors, states, times, tokens, costs, and request ids.

    Each sealed body is bound to its place and its key: changed, moved or exchanged, it is a
    `StorageFailed` that names it. The data key is in the file, wrapped by *keys*; each subject
    (see `Pipeline.subject`) has one of its own in a file beside it, so that erasing a subject
    reaches copies that were made of the journal before.

    It is for a journal from the beginning. Needs the extra ``crypto``: without it, making one
    raises `ConfigurationError`.
    """

    keys: KeyProvider = attrs.field(validator=_is_provider)

    def __attrs_post_init__(self) -> None:
        import genai_pipeline.journals._ciphers  # noqa: F401, PLC0415 - raises without the extra


def is_codec(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow `Encryption`, a codec, or nothing."""
    functions = (getattr(value, name, None) for name in ("encode", "decode"))
    fine = value is None or isinstance(value, Encryption)
    fine = fine or (isinstance(getattr(value, "name", None), str) and all(map(callable, functions)))
    fine = fine and not isinstance(value, type)
    check(fine, owner, option.name, value, "gp.journals.Encryption(keys), a codec or None")


def make_vault(
    codec: Codec | Encryption | None, path: Path, connect: Connect, make: Callable[[Path], None]
) -> Vault:
    """Answer what a journal at *path* keeps things by; *make* makes a file for this user alone."""
    if not isinstance(codec, Encryption):
        return Vault(codec)
    from genai_pipeline.journals._key_ring import KeyRing  # noqa: PLC0415 - an extra
    from genai_pipeline.journals._sealed import Sealed  # noqa: PLC0415 - an extra

    ring = KeyRing(path=path.with_name(path.name + ".keys"), connect=connect, make=make)
    return Sealed(codec.keys, ring)

"""One text for one value: JSON that is the same in every process and every version."""

from __future__ import annotations

import math
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, TypeAlias

from genai_pipeline.errors import ConfigurationError

__all__ = ["PLAIN", "Json", "canonical", "digest", "json_copy"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_DEPTH = 100
PLAIN = frozenset((str, int, bool, type(None)))
"""What is its own copy; asked first, since most of what is copied is such."""


def json_copy(value: object, *, where: str, depth: int = 0) -> Any:
    """
    Answer a deep copy of *value* made of plain JSON types; tuples become lists.

    Raises `ConfigurationError` that names the place (``where['key'][3]``) of anything JSON
    cannot hold: other types, keys that are no text, NaN and infinity, nesting over 100.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigurationError(f"{where} is {value}, which JSON cannot hold")
        return value
    if depth >= _DEPTH:
        raise ConfigurationError(f"{where} is nested deeper than {_DEPTH} levels")
    if isinstance(value, (dict, Mapping)):  # the first is asked quickly
        for key in value:
            if not isinstance(key, str):
                raise ConfigurationError(f"{where} has the key {key!r}; JSON keys are text")
        return {
            key: item
            if type(item) in PLAIN
            else json_copy(item, where=f"{where}[{key!r}]", depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            item
            if type(item) in PLAIN
            else json_copy(item, where=f"{where}[{index}]", depth=depth + 1)
            for index, item in enumerate(value)
        ]
    raise ConfigurationError(
        f"{where} is a {type(value).__qualname__}, which JSON cannot hold; convert it first"
    )


def digest(value: Json) -> str:
    """
    Answer 32 hexadecimal digits (128 bits of BLAKE2b) over the canonical JSON of *value*.

    Keys are sorted, and a float with an integral value counts as that integer, as in JSON
    itself, so that ``1`` and ``1.0`` are one value.
    """
    import hashlib  # noqa: PLC0415 - slow to import, and not every request is identified

    return hashlib.blake2b(canonical(value).encode("ascii"), digest_size=16).hexdigest()


def canonical(value: Json) -> str:
    """Answer the text that `digest` is taken of; ASCII."""
    # Written out here, since `json` makes an encoder for each text, which costs more than a
    # request is long, and would want a copy whose integral floats are integers.
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        pairs = [f"{quoted(key)}:{canonical(item)}" for key, item in sorted(value.items())]
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join([canonical(item) for item in value])}]"
    return _CONSTANTS[value] if value is None or isinstance(value, bool) else _number(value)


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _number(value: int | float) -> str:  # noqa: PYI041 - one of both
    if isinstance(value, int):
        return int.__repr__(value)
    if not math.isfinite(value):
        raise ValueError(f"JSON cannot hold {value}")
    return int.__repr__(int(value)) if value.is_integer() else float.__repr__(value)

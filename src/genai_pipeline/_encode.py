"""JSON for the values that pipelines carry: one line of text for each."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs

from genai_pipeline.errors import DataError
from genai_pipeline.records import DeadLetter

__all__ = ["encode_json", "fields_of", "plain"]

_DEPTH = 100
_REPR = 10_000

_MEND = "convert it in a stage before the sink"


class _Unencodable(TypeError):
    """A type that has no form in JSON."""


def encode_json(value: object, *, ascii_only: bool = False) -> str:
    """
    Answer *value* as JSON on one line; the text can always be written as UTF-8.

    With *ascii_only*, everything beyond ASCII is an escape.

    Beside what JSON knows: attrs and data classes become objects (without their private fields),
    as does any Mapping; tuples become lists, sets lists in the order of their JSON;
    an Enum its value; dates and times ISO 8601 text, a timedelta its seconds; Decimal, UUID and
    paths their text; bytes Base64 text; an array a list. Keys that are numbers become text, as
    in `json`.

    Raises `DataError` that names the place and the type of anything else, of NaN and infinity,
    and of values that contain themselves. Only a `DeadLetter` is taken whatever it holds: a
    payload or an attribute that JSON cannot hold becomes its type and its `repr`.
    """
    if isinstance(value, DeadLetter):
        value = _tell(value)
    try:
        text = (_ASCII_ENCODER if ascii_only else _ENCODER).encode(value)
    except Exception as error:  # a property or a Mapping of the user's may raise anything
        raise DataError(f"{_reason(value, error)}; {_MEND}") from error
    return text if text.isascii() or _is_unicode(text) else _ASCII_ENCODER.encode(value)


def _is_unicode(text: str) -> bool:
    """Tell half of a surrogate pair, which only an escape can hold, from real text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(value: object) -> Any:
    """
    Answer *value*, of a type JSON does not know, as one that it does, one level deep.

    Raises `TypeError` for a type that has no form in JSON.
    """
    fields = fields_of(value)
    if fields is not None:
        return fields
    for kinds, form in _FORMS:
        if isinstance(value, kinds):
            return form(value)
    raise _Unencodable(f"of type {_type_name(value)}, which JSON cannot hold")


def _in_order(values: AbstractSet[Any]) -> list[Any]:
    try:
        return sorted(values, key=_ENCODER.encode)
    except _Unencodable as error:
        raise _Unencodable(f"a set with an element {error}") from error


def _type_name(value: object) -> str:
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def fields_of(value: object) -> dict[Any, Any] | None:
    """Answer the named parts of a Mapping, attrs or data class; `None` for anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, type):
        return None
    kind: Any = type(value)
    if attrs.has(kind):
        names = [field.name for field in attrs.fields(kind)]
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        return None
    return {name: getattr(value, name) for name in names if not name.startswith("_")}


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode("ascii")


_FORMS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (date | time, lambda value: value.isoformat()),
    (timedelta, timedelta.total_seconds),
    (Decimal | UUID | PurePath, str),
    (bytes | bytearray | memoryview, _base64),
    (AbstractSet, _in_order),
    (array, array.tolist),
)

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain)
_ASCII_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, default=plain)


def _reason(value: object, error: Exception) -> str:
    try:
        found = _find(value, "value", 0, ())
    except RecursionError:  # the caller's own stack was deep already
        found = "value is nested too deep"
    return found or f"value: {type(error).__name__}: {error}"


def _find(value: object, place: str, depth: int, above: tuple[int, ...]) -> str | None:
    """Say which part of *value* JSON cannot hold, and why; `None` when there is none."""
    if value is None or isinstance(value, str | int | float):
        return _find_in_scalar(value, place)
    if id(value) in above:
        return f"{place} contains itself"
    if depth > _DEPTH:
        return f"{place[:40]}… is nested deeper than {_DEPTH} levels"
    return _first(_find_below(value, place, depth, (*above, id(value))))


def _find_in_scalar(value: str | float | None, place: str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{place} is {value}, which JSON cannot hold"
    try:
        _ENCODER.encode(value)
    except ValueError:
        return f"{place} is a number too long to write as text"
    return None


def _find_below(
    value: object, place: str, depth: int, above: tuple[int, ...]
) -> Iterator[str | None]:
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield _find(item, f"{place}[{number}]", depth + 1, above)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield _find_entry(key, item, place, depth, above)
    else:
        try:
            yield _find(plain(value), place, depth + 1, above)
        except _Unencodable as error:
            yield f"{place} is {error}"
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - see encode_json
            yield f"{place}: {type(error).__name__}: {error}"


def _find_entry(
    key: object, item: object, place: str, depth: int, above: tuple[int, ...]
) -> str | None:
    if key is not None and not isinstance(key, str | int | float):
        return f"{place} has the key {key!r:.100}; JSON keys are text"
    if isinstance(key, float) and not math.isfinite(key):
        return f"{place} has the key {key}, which JSON cannot hold"
    return _find(item, f"{place}[{key!r:.100}]", depth + 1, above)


def _first(found: Iterable[str | None]) -> str | None:
    return next((each for each in found if each is not None), None)


def _tell(letter: DeadLetter) -> dict[str, Any]:
    told = fields_of(letter) or {}
    attributes = told["attributes"]
    return {
        **told,
        "payload": _or_repr(letter.payload),
        "attributes": {str(name): _or_repr(item) for name, item in attributes.items()},
    }


def _or_repr(value: object) -> object:
    try:
        _ENCODER.encode(value)
    except Exception:  # noqa: BLE001 - see encode_json
        return {"type": _type_name(value), "repr": _repr(value)}
    return value


def _repr(value: object) -> str:
    try:
        return repr(value)[:_REPR]
    except Exception as error:  # noqa: BLE001 - a broken repr must not lose the letter
        return f"its repr raised {type(error).__name__}"

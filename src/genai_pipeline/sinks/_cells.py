"""The values of fields as a table's columns hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from genai_pipeline._encode import encode_json
from genai_pipeline._journal_tables import Column, ColumnKind
from genai_pipeline.errors import DataError

__all__ = ["cell_of"]

_MOST = 2**63


def cell_of(column: Column, fields: Mapping[Any, Any]) -> Any:
    """Answer what *column* is to hold of *fields*; raises `DataError` when that cannot be."""
    value = fields.get(column.name)
    if value is None and column.nullable:
        return None
    if value is None and (column.kind != "json" or column.name not in fields):
        told = "is None" if column.name in fields else "is missing"
        raise DataError(f"value[{column.name!r}] {told}, and its column is not `| None`")
    fit = _FITS[column.kind](value)
    if fit is None:
        raise DataError(
            f"value[{column.name!r}] is {value!r:.100}, which is no {_NAMES[column.kind]}; convert "
            "it in a stage before the sink"
        )
    return fit


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return str.__str__(value)


def _integer(value: object) -> int | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and -_MOST <= value < _MOST
    return int(value) if fine else None  # type: ignore[call-overload]


def _real(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _blob(value: object) -> bytes | None:
    return bytes(value) if isinstance(value, bytes | bytearray) else None


_FITS: Mapping[ColumnKind, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "real": _real,
    "boolean": _boolean,
    "blob": _blob,
    "json": encode_json,
}

_NAMES: Mapping[ColumnKind, str] = {
    "text": "str of Unicode",
    "integer": "int of 64 bits",
    "real": "finite float",
    "boolean": "bool",
    "blob": "bytes",
}

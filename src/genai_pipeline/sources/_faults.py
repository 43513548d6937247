"""What goes wrong in a file, and how it is told: as a delivery that carries its error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.errors import DataError
from genai_pipeline.records import Delivery, Record

__all__ = ["PAYLOAD", "Unreadable", "broken", "excerpt"]

PAYLOAD = 64 * 1024
"""Bytes of raw input that an error keeps."""


class Unreadable(Exception):
    """Raised when a file, or the rest of it, cannot be read; the next file may well be."""

    def __init__(self, message: str, *, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column
        self.line: int | None = None
        self.offset: int | None = None
        self.partial: bytes = b""


def excerpt(raw: bytes, size: int | None = None, codec: str = "utf-8") -> str:
    r"""
    Answer *raw* as text, for people and dead letters: at most 64 KiB of it.

    Bytes that *codec* cannot decode become ``\xNN``. What was cut is counted at the end; *size*
    is the number of bytes there were, when *raw* is not all of it.
    """
    left_out = (len(raw) if size is None else size) - min(len(raw), PAYLOAD)
    text = raw[:PAYLOAD].decode(codec, "backslashreplace")
    return f"{text}… ({left_out} bytes more)" if left_out > 0 else text


def broken(
    message: str,
    *,
    value: Any,
    key: str,
    attributes: Mapping[str, Any],
    column: int | None = None,
    cause: Exception | None = None,
) -> Delivery[Any]:
    """Answer the delivery of a piece of input that cannot be used, the raw input being *value*."""
    error = DataError(
        message,
        origin=attributes.get("origin"),
        line=attributes.get("line"),
        column=column,
        payload=value,
    )
    error.__cause__ = cause
    return Delivery(Record(value, key, attributes), error=error)

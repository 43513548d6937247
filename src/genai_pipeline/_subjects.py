"""Whose data a record is: a person, a customer, a tenant, as a pipeline is told to know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from genai_pipeline._options import is_function
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.records import Record

__all__ = ["Subject", "is_subject", "subject_of"]

Subject: TypeAlias = "str | Callable[[Record[Any]], str | None]"
"""The name of an attribute of records, or a function that answers whose data a record is."""


def is_subject(value: object) -> bool:
    """Tell whether *value* can tell whose data records are."""
    return bool(value) if isinstance(value, str) else is_function(value)


def subject_of(record: Record[Any], told: Subject | None) -> str | None:
    """
    Answer whose data *record* is; `None` when it is nobody's.

    Raises `ConfigurationError` when what tells it answers neither text nor a whole number.
    """
    if told is None:
        return None
    found = record.attributes.get(told) if isinstance(told, str) else told(record)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise ConfigurationError(
            f"Pipeline: subject={told!r} answers {type(found).__name__} for the record "
            f"{record.key!r}; it has to be text, a whole number, or None for nobody's"
        )
    return found

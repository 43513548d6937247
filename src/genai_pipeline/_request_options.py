"""Converters and validators of the options of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genai_pipeline._canonical import json_copy
from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError

__all__ = ["to_extra", "to_labels", "to_schema", "to_stop"]


def to_labels(labels: Iterable[str] | None) -> tuple[str, ...] | None:
    """Answer two labels or more, each once."""
    if labels is None:
        return None
    fine = isinstance(labels, Iterable) and not isinstance(labels, str)
    check(fine, "Request", "labels", labels, "several texts")
    chosen = tuple(labels)
    if any(not isinstance(label, str) or not label for label in chosen):
        raise ConfigurationError(f"Request: labels={chosen!r}; each is a text, none is empty")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):  # noqa: PLR2004 - a choice
        raise ConfigurationError(
            f"Request: labels={chosen!r}; give at least two, each a different text"
        )
    return chosen


def to_stop(stop: str | Iterable[str]) -> tuple[str, ...]:
    """Answer the texts at which to stop."""
    if type(stop) is tuple and not stop:
        return ()
    if isinstance(stop, str):
        stop = (stop,)
    check(isinstance(stop, Iterable), "Request", "stop", stop, "a text, or several")
    chosen = tuple(stop)
    fine = all(isinstance(each, str) and each for each in chosen)
    check(fine, "Request", "stop", chosen, "texts, none of them empty")
    return chosen


def to_schema(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Answer a copy of a JSON Schema."""
    return None if schema is None else _mapping("schema", schema)


def to_extra(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a copy of further parameters."""
    return _mapping("extra", extra)


def _mapping(option: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    check(isinstance(value, Mapping), "Request", option, value, "a mapping")
    if not value:
        return {}
    copy: Mapping[str, Any] = json_copy(value, where=f"Request: {option}")
    return copy

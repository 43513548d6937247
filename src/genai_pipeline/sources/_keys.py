"""The key of a record: its place in the source, or what the application chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from genai_pipeline._options import check
from genai_pipeline.records import Delivery, Record
from genai_pipeline.sources._faults import broken

__all__ = ["a_function", "keyed"]

A = TypeVar("A")


def a_function(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow `None` or anything that can be called."""
    check(value is None or callable(value), owner, option.name, value, "a function of the value")


def keyed(
    value: A, place: str, attributes: Mapping[str, Any], key: Callable[[A], str | int] | None
) -> Delivery[A]:
    """
    Answer the delivery of *value*, whose key is ``key(value)``, or *place* without that.

    Where *key* fails, or answers something that is no key, the value is delivered as broken.
    """
    if key is None:
        return Delivery(Record(value, place, attributes))
    try:
        chosen = key(value)
    except Exception as error:  # noqa: BLE001 - whatever the application's function raises
        reason = f"key= raised {type(error).__name__}: {error}"
        return broken(reason, value=value, key=place, attributes=attributes, cause=error)
    if isinstance(chosen, bool) or not isinstance(chosen, str | int) or chosen == "":
        reason = f"key= answered {chosen!r}; a key is a text that is not empty, or a whole number"
        return broken(reason, value=value, key=place, attributes=attributes)
    return Delivery(Record(value, str(chosen), attributes))

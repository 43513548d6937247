"""JSON as it is safe to take from strangers: without what readers disagree on."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

__all__ = ["DEEPEST", "AmbiguousJson", "examine", "loads", "may_hide_more", "scan"]

DEEPEST = 200
"""The most levels of lists and objects within each other."""

_BLANK = " \t\r\n"


class AmbiguousJson(ValueError):
    """Raised for what is JSON by its form, and means nothing, or more than one thing."""


def loads(text: str) -> Any:
    """
    Answer the JSON value that *text* is.

    Raises `AmbiguousJson` for an object with the same key twice, NaN, Infinity, a number beyond
    a double and a lone surrogate, `RecursionError` for more than 200 levels, and any other
    `ValueError` (``json.JSONDecodeError`` as a rule) for what is no JSON.
    """
    bare = text.strip(_BLANK)
    try:
        value, end = scan(bare, 0)
    except StopIteration as stop:
        raise json.JSONDecodeError("Expecting value", bare, stop.value) from None
    if end != len(bare) or may_hide_more(bare):
        examine(bare, value, end)
    return value


def may_hide_more(text: str) -> bool:
    """Tell whether `examine` could find anything in what *text* was read as."""
    return text.count("[") + text.count("{") > DEEPEST or (
        "\\u" in text and ("\\ud" in text or "\\uD" in text)
    )


def examine(text: str, value: Any, end: int) -> None:
    """Raise what is wrong with *value*, read from *text* up to *end*, that `scan` lets pass."""
    if end != len(text):
        position = len(text) - len(text[end:].lstrip(_BLANK))
        raise json.JSONDecodeError("Extra data", text, position)
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, str):
                _check_text(each)
            elif isinstance(each, list | dict):
                if depth == DEEPEST:
                    raise RecursionError
                inner.extend(each)
                if isinstance(each, dict):
                    inner.extend(each.values())
        level, depth = inner, depth + 1


def _check_text(text: str) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise AmbiguousJson("an escape \\ud800 to \\udfff stands for half a sign: a lone surrogate")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise AmbiguousJson(f"the key {twice!r} stands twice in one object")
    return members


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        shown = digits if len(digits) <= 40 else f"{digits[:40]}…"  # noqa: PLR2004
        raise AmbiguousJson(f"the number {shown} is beyond what a double can hold")
    return number


def _constant(name: str) -> NoReturn:
    raise AmbiguousJson(f"{name} is no JSON; write null, or a text")


_decoder: Any = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_constant=_constant
)

scan = _decoder.scan_once
"""
Answer the value that begins at an index of a text, and where it ends.

For inner loops. Raises as `loads` does, but ``StopIteration`` where no value begins; see `examine`
for the rest.
"""

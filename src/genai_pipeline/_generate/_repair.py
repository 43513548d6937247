"""Broken JSON mended, where the package ``json-repair`` is installed; its only importer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["can_repair", "repaired"]

_LONGEST = 50_000
_MOST_OPENED = 1_000


@functools.cache
def _repair() -> Callable[..., Any] | None:
    try:
        import json_repair  # noqa: PLC0415 - few answers are broken
    except ImportError:
        return None
    return json_repair.repair_json


def can_repair() -> bool:
    """Tell whether what mends is installed."""
    return _repair() is not None


def repaired(text: str) -> str:
    """
    Answer the JSON text that *text* was probably meant to be.

    Raises `ValueError` when it cannot be mended, is longer than 50,000 characters, or opens more
    than 1,000 brackets, which would take seconds.
    """
    repair = _repair()
    if repair is None:
        raise ValueError("json-repair is not installed")
    if len(text) > _LONGEST or text.count("{") + text.count("[") > _MOST_OPENED:
        raise ValueError("too long to be mended")
    try:
        mended = repair(text, skip_json_loads=True)
    except Exception as error:  # whatever it makes of a text that nobody foresaw
        raise ValueError(f"json-repair: {type(error).__name__}: {error}") from error
    if not isinstance(mended, str) or not mended:
        raise ValueError("nothing was left to mend")
    return mended

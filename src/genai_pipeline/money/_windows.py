"""The stretches of time that budgets count in, by names that grow with time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeAlias

__all__ = ["WINDOWS", "Window", "window_of"]

Window: TypeAlias = Literal["run", "hour", "day", "month", "total"]
"""A run of the pipeline, an hour, day or month of the calendar in UTC, or all time."""

_FORMATS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_RUN_DIGITS = 12
_HOUR = 3600

WINDOWS: tuple[Window, ...] = ("run", "hour", "day", "month", "total")


def window_of(window: Window, *, run: int, at: float) -> str:
    """
    Answer the name of the window that *run* and wall time *at* are in.

    Names of later windows are greater, letter by letter: ``2026-11-26`` before ``2026-11-27``.
    """
    if window == "run":
        return str(run).zfill(_RUN_DIGITS)
    return "" if window == "total" else _stretch(window, int(at // _HOUR))


@lru_cache(maxsize=64)
def _stretch(window: Window, hour: int) -> str:
    return datetime.fromtimestamp(hour * _HOUR, UTC).strftime(_FORMATS[window])

"""Reads durations and moments that people write."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime

__all__ = ["duration", "moment"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


def duration(text: str) -> float:
    """Answer seconds: ``90s``, ``15m``, ``12h``, ``30d``, ``2w``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no duration; write 90s, 15m, 12h, 30d or 2w")
    return float(match[1]) * _UNITS[match[2]]


def moment(text: str) -> float:
    """Answer a wall time: a duration ago, or a date or time by ISO 8601, in UTC unless it says."""
    if _DURATION.fullmatch(text):
        return datetime.now(UTC).timestamp() - duration(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no moment; write 2026-11-26, 2026-11-26T14:30, or 12h for so long ago"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

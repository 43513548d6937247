"""When a hedge may begin: what was learned of the usual, and what share of calls may be doubled."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Allowance", "Usual"]

_MOST_SAVED = 10.0
_RENEW_AFTER = 10


class Usual:
    """How long calls usually take: a percentile of the latest."""

    def __init__(self, percentile: float, *, least: int, most: int) -> None:
        self._percentile = percentile
        self._least = least
        self._latest: deque[float] = deque(maxlen=most)
        self._new = 0
        self._seconds: float | None = None

    def saw(self, seconds: float) -> None:
        """Note how long a call took, or was waited for in vain."""
        self._latest.append(seconds)
        self._new += 1

    def seconds(self) -> float | None:
        """Answer the percentile; `None` while too few calls were seen."""
        if len(self._latest) < self._least:
            return None
        if self._seconds is None or self._new >= _RENEW_AFTER:
            self._new = 0
            rank = math.ceil(self._percentile * len(self._latest))
            self._seconds = sorted(self._latest)[rank - 1]
        return self._seconds


class Allowance:
    """Tokens for hedges: each call brings a share of one; a few are saved up."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._level = 1.0

    def deposit(self) -> None:
        """Count one call."""
        self._level = min(_MOST_SAVED, self._level + self._share)

    def withdraw(self) -> bool:
        """Take a token, if there is one."""
        # Tenths do not add up to one exactly.
        if self._level < 1 - 1e-9:
            return False
        self._level -= 1
        return True

"""The last outcomes of calls, and how many of them were bad."""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["FAILED", "SLOW", "OutcomeWindow"]

FAILED = 1
SLOW = 2


@attrs.define(kw_only=True, eq=False)
class OutcomeWindow:
    """
    Keeps the outcomes of the last *size* calls that ended less than *age* seconds ago.

    A call may be failed and slow at once: it counts once in each rate.
    """

    size: int
    age: float
    least: int
    """So many calls must be known before a rate means anything."""

    failure_rate: float
    slow_rate: float
    failed: int = attrs.field(default=0, init=False)
    slow: int = attrs.field(default=0, init=False)
    _outcomes: deque[tuple[float, int]] = attrs.field(factory=deque, init=False, repr=False)

    def add(self, now: float, kind: int = 0) -> None:
        """Note that a call ended *now*: well, or `FAILED`, `SLOW`, or both (``FAILED | SLOW``)."""
        outcomes = self._outcomes
        while outcomes and (now - outcomes[0][0] >= self.age or len(outcomes) >= self.size):
            gone = outcomes.popleft()[1]
            if gone:
                self._count(gone, -1)
        if kind:
            self._count(kind, 1)
        outcomes.append((now, kind))

    def verdict(self) -> str | None:
        """Answer why the calls are too bad to go on, `None` when they are not."""
        total = len(self._outcomes)
        if total < self.least:
            return None
        if self.failed and self.failed / total >= self.failure_rate:
            return f"{self.failed} of the last {total} calls failed"
        if self.slow and self.slow / total >= self.slow_rate:
            return f"{self.slow} of the last {total} calls were slow"
        return None

    def clear(self) -> None:
        """Forget all."""
        self._outcomes.clear()
        self.failed = self.slow = 0

    def __len__(self) -> int:
        return len(self._outcomes)

    def _count(self, kind: int, by: int) -> None:
        if kind & FAILED:
            self.failed += by
        if kind & SLOW:
            self.slow += by

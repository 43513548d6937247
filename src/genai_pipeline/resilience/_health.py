"""`Health`: which of several levels is well enough to answer."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import attrs

from genai_pipeline.clock import Clock

__all__ = ["Health", "Thresholds"]

_MOST_KEPT = 1000


@attrs.frozen(kw_only=True)
class Thresholds:
    """When to go down a level, and when to come up."""

    failure_rate: float
    least_calls: int
    window: float
    probe_after: float
    max_probe_after: float
    recover_after: int


class _Window:
    """The latest outcomes of one level."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0

    def add(self, now: float, *, failed: bool) -> None:
        self._outcomes.append((now, failed))
        self._failures += failed
        oldest = now - self._seconds
        while self._outcomes[0][0] <= oldest or len(self._outcomes) > _MOST_KEPT:
            self._failures -= self._outcomes.popleft()[1]

    def is_bad(self, rate: float, least: int) -> bool:
        count = len(self._outcomes)
        return count >= least and self._failures >= rate * count

    def clear(self) -> None:
        self._outcomes.clear()
        self._failures = 0


class Health:
    """
    Goes down a level when too many calls of the current one fail, and up again after probes.

    Probes go to the levels above, in turn from the nearest, one at a time; after a bad one
    the next is twice as long in coming.
    """

    # What `note` says when it goes down a level, before which there is no probe.
    _candidate: int
    _good: int
    _pause: float

    def __init__(self, levels: int, thresholds: Thresholds, clock: Clock) -> None:
        self._thresholds = thresholds
        self._clock = clock
        self._windows = [_Window(thresholds.window) for _ in range(levels)]
        self._probed: int | None = None
        self._probe_at = math.inf
        self.level = 0
        """The level that answers now; 0 is the best."""

    def note(self, level: int, *, failed: bool) -> bool:
        """Count how a call to *level* went; answer whether that moved us down from it."""
        limits, window = self._thresholds, self._windows[level]
        window.add(self._clock.now(), failed=failed)
        last = len(self._windows) - 1
        if not failed or level != self.level or level == last:
            return False
        if not window.is_bad(limits.failure_rate, limits.least_calls):
            return False
        self._go_to(level + 1)
        self._pause = limits.probe_after
        self._candidate = level
        self._probe_at = self._clock.now() + self._pause
        return True

    def begin_probe(self) -> int | None:
        """Answer the level above to try with this call, if it is time; `end_probe` must follow."""
        if self._probed is not None or self._clock.now() < self._probe_at:
            return None
        self._probed = self._candidate
        return self._probed

    def end_probe(self, outcome: Literal["good", "bad", "none"], wait: float | None = None) -> bool:
        """
        Note how the probe went; answer whether that moved us up.

        *wait* is the time that the level asked for when it was bad. ``"none"`` says nothing, as
        when the call was cancelled; and so does a probe during which we went down.
        """
        limits, now = self._thresholds, self._clock.now()
        probed, self._probed = self._probed, None
        if outcome == "none" or probed != self._candidate:
            return False
        if outcome == "bad":
            self._good = 0
            self._pause = min(2 * self._pause, limits.max_probe_after)
            self._probe_at = now + min(max(self._pause, wait or 0.0), limits.max_probe_after)
            self._candidate = self._candidate - 1 if self._candidate else self.level - 1
            return False
        self._good += 1
        if self._good < limits.recover_after:
            return False
        self._go_to(self._candidate)
        self._candidate = max(0, self.level - 1)
        self._pause = limits.probe_after
        self._probe_at = now + self._pause if self.level else math.inf
        return True

    def _go_to(self, level: int) -> None:
        self.level = level
        self._good = 0
        self._windows[level].clear()

"""One look at a run: its report, and what follows from the looks before."""

from __future__ import annotations

from collections import deque

import attrs

from genai_pipeline.report import Report

__all__ = ["Observer", "Snapshot"]

_WINDOW = 10.0
"""Seconds that the recent rate looks back: steady to read, yet quick to show a stall."""

_LOOKS = 128
"""Looks kept at most, however often the display refreshes."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """What a display shows."""

    name: str
    report: Report
    total: int | None
    """How many records there are to read; `None` when nobody knows."""

    recent_rate: float
    """Records that ended each second, over the last ten seconds."""

    @property
    def done(self) -> int:
        """Answer how many records need no more work, those of earlier runs included."""
        return self.report.ended + self.report.skipped

    @property
    def share(self) -> float | None:
        """Answer how much is done, 0 to 1; `None` when the total is not known."""
        if not self.total:
            return None
        return min(1.0, self.done / self.total)

    @property
    def left(self) -> float | None:
        """Answer the seconds that are left at the recent rate; `None` when nobody can tell."""
        if self.total is None or self.recent_rate <= 0 or self.report.stopped is not None:
            return None
        return max(0, self.total - self.done) / self.recent_rate


@attrs.define(kw_only=True)
class Observer:
    """Makes snapshots of reports that come one after the other."""

    name: str
    total: int | None
    _looks: deque[tuple[float, int]] = attrs.field(
        factory=lambda: deque([(0.0, 0)], maxlen=_LOOKS), init=False
    )

    def look(self, report: Report) -> Snapshot:
        """Answer what *report* looks like after the ones before."""
        while len(self._looks) > 1 and self._looks[1][0] <= report.elapsed - _WINDOW:
            self._looks.popleft()
        began, ended = self._looks[0]
        passed = report.elapsed - began
        self._looks.append((report.elapsed, report.ended))
        return Snapshot(
            name=self.name,
            report=report,
            total=self.total,
            recent_rate=(report.ended - ended) / passed if passed > 0 else 0.0,
        )

"""Progress as lines: for log files and pipes, in words or in JSON."""

from __future__ import annotations

import json
from typing import TextIO

import attrs

from genai_pipeline.telemetry import _figures as figures
from genai_pipeline.telemetry._snapshot import Snapshot

__all__ = ["JsonLines", "PlainLines", "plain"]

_FIRST = 2.0
_GROWTH = 1.5
_LONGEST = 60.0


@attrs.define
class PlainLines:
    """
    Writes a line of words now and then.

    The first after two seconds, then ever more rarely, down to one a minute, so that the log of
    a long run stays short.
    """

    stream: TextIO
    _pause: float = attrs.field(default=_FIRST, init=False)

    def open(self) -> float:
        """Begin; answer the seconds until the first line."""
        return self._pause

    def show(self, snapshot: Snapshot) -> float:
        """Write a line; answer the seconds until the next."""
        print(plain(snapshot), file=self.stream, flush=True)
        self._pause = min(_LONGEST, self._pause * _GROWTH)
        return self._pause

    def close(self) -> None:
        """End; nothing is left to do."""


@attrs.define
class JsonLines:
    """Writes one JSON object a line, every second; for programs."""

    stream: TextIO
    pause: float = 1.0

    def open(self) -> float:
        """Begin; answer the seconds until the first line."""
        return self.pause

    def show(self, snapshot: Snapshot) -> float:
        """Write a line; answer the seconds until the next."""
        line = {
            "progress": snapshot.name,
            "total": snapshot.total,
            "recent_rate": round(snapshot.recent_rate, 3),
            "seconds_left": None if snapshot.left is None else round(snapshot.left, 3),
            **snapshot.report.to_dict(),
        }
        print(json.dumps(line, separators=(",", ":")), file=self.stream, flush=True)
        return self.pause

    def close(self) -> None:
        """End; nothing is left to do."""


def plain(snapshot: Snapshot) -> str:
    """Answer a snapshot as one line of words."""
    return " · ".join(_parts(snapshot))


def _parts(snapshot: Snapshot) -> list[str]:
    report = snapshot.report
    parts = [figures.span(report.elapsed), done(snapshot)]
    parts.append(figures.per_second(snapshot.recent_rate))
    parts.append(f"{figures.count(report.in_flight)} in flight")
    if report.dead:
        parts.append(f"{figures.count(report.dead)} dead")
    if report.handed_back:
        parts.append(f"{figures.count(report.handed_back)} handed back")
    if report.skipped:
        parts.append(f"{figures.count(report.skipped)} skipped")
    if report.calls:
        parts.append(spent(snapshot))
    if report.rejections:
        parts.append(f"{figures.count(report.rejections)} waits")
    if report.stopped is not None:
        parts.append(f"stopping: {report.stopped}")
    elif snapshot.left is not None:
        parts.append(f"{figures.span(snapshot.left)} left")
    return parts


def done(snapshot: Snapshot) -> str:
    """Answer how many records are done, and of how many."""
    ended = figures.count(snapshot.done)
    if snapshot.total is None or snapshot.share is None:
        return f"{ended} done"
    return f"{ended} of {figures.count(snapshot.total)} done ({figures.percent(snapshot.share)})"


def spent(snapshot: Snapshot) -> str:
    """Answer the tokens that went in and out, and what they cost as far as that is known."""
    report = snapshot.report
    text = f"{figures.tokens(report.input_tokens)} tokens in, "
    text += f"{figures.tokens(report.output_tokens)} out"
    return text if report.cost is None else f"{text}, {figures.money(report.cost)}"

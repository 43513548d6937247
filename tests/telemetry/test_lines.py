"""A plain line tells what matters and leaves out what does not."""

from __future__ import annotations

from genai_pipeline.telemetry._lines import plain
from genai_pipeline.telemetry._snapshot import Snapshot
from tests.telemetry.reports import report, rich_report


def test_everything() -> None:
    """A run with trouble tells all of it in one line."""
    full = rich_report(read=6_267, handed_back=3)
    line = plain(Snapshot(name="x", report=full, total=10_000, recent_rate=512.0))
    assert line == (
        "0:12 · 6,203 of 10,000 done (62 %) · 512/s · 64 in flight · 20 dead · 3 handed back · "
        "1.23 M tokens in, 88.0 k out, $0.421 · 12 waits · 0:07 left"
    )


def test_nothing_but_progress() -> None:
    """A run without calls or trouble tells how far it is and how fast."""
    smooth = report(read=10, written=10, elapsed=5.0)
    line = plain(Snapshot(name="x", report=smooth, total=None, recent_rate=2.0))
    assert line == "0:05 · 10 done · 2.00/s · 0 in flight"


def test_stopping() -> None:
    """A run that stops says why, and claims no time left."""
    stopping = report(read=10, written=10, elapsed=5.0, stopped="signal SIGTERM")
    line = plain(Snapshot(name="x", report=stopping, total=20, recent_rate=2.0))
    assert line.endswith(" · stopping: signal SIGTERM")

"""The rate is that of the last ten seconds, and the time left follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.telemetry._snapshot import Observer
from tests.telemetry.reports import report


def test_rate_is_recent() -> None:
    """A run that slows down shows the new rate after ten seconds, not the mean of all."""
    observer = Observer(name="x", total=None)
    for second in range(100):
        observer.look(report(elapsed=float(second), read=second * 50, written=second * 50))
    for second in range(100, 120):
        snapshot = observer.look(report(elapsed=float(second), read=4950, written=4950))
    assert snapshot.recent_rate == 0


def test_time_left() -> None:
    """What is left takes as long as the recent rate says."""
    observer = Observer(name="x", total=1_000)
    snapshot = observer.look(report(elapsed=2.0, read=200, written=150, filtered=50))
    assert (snapshot.share, snapshot.recent_rate, snapshot.left) == (0.2, 100.0, 8.0)


@pytest.mark.parametrize(
    ("total", "changes"),
    [(None, {"written": 5}), (10, {"written": 0}), (10, {"written": 5, "stopped": "signal"})],
    ids=["no total", "no rate", "stopping"],
)
def test_time_left_is_unknown(total: int | None, changes: dict[str, object]) -> None:
    """Nobody claims to know the time left without a total, a rate, or while stopping."""
    snapshot = Observer(name="x", total=total).look(report(elapsed=1.0, **changes))
    assert snapshot.left is None


def test_more_than_the_total() -> None:
    """A source that has more than it said is done, never over a hundred percent."""
    snapshot = Observer(name="x", total=10).look(report(elapsed=1.0, read=20, written=20))
    assert (snapshot.share, snapshot.left) == (1.0, 0.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 1000)), min_size=1, max_size=300))
def test_any_course(steps: list[tuple[float, int]]) -> None:
    """Whatever the course, the rate is never negative nor above the fastest step."""
    observer = Observer(name="x", total=None)
    elapsed, ended = 0.0, 0
    for passed, count in steps:
        elapsed, ended = elapsed + passed, ended + count
        snapshot = observer.look(report(elapsed=elapsed, read=ended, written=ended))
        assert snapshot.recent_rate >= 0
    assert len(observer._looks) <= 128

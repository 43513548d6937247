"""Events become structlog entries of the right level."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
import structlog

from genai_pipeline import events
from genai_pipeline.errors import RateLimited
from genai_pipeline.telemetry import LogEvents

_ENDED = events.RunEnded(read=1, written=1, filtered=0, dead=0, handed_back=0, seconds=1.0)
_LIMITED = RateLimited("slow down", retry_after=2)


@pytest.mark.parametrize(
    ("event", "level", "name"),
    [
        (events.RunStarted(max_in_flight=4), "info", "run_started"),
        (_ENDED, "info", "run_ended"),
        (events.StopRequested(reason="signal", grace=1.0), "warning", "stop_requested"),
        (events.SourceFailed(error=_LIMITED, retry_in=1.0), "warning", "source_failed"),
        (events.RecordSettled(key="1", outcome="written", seconds=1), "debug", "record_settled"),
        (events.RecordSettled(key="1", outcome="dead", seconds=1), "warning", "record_settled"),
        (
            events.RecordWaited(key="1", stage="s", seconds=1, error=_LIMITED),
            "warning",
            "record_waited",
        ),
        (events.IntakePaused(memory=2, max_memory=1), "warning", "intake_paused"),
        (events.IntakeResumed(memory=1, seconds=1), "info", "intake_resumed"),
        (
            events.CallFinished(provider="p", model="m", seconds=1, cost=Decimal(1)),
            "debug",
            "call_finished",
        ),
        (
            events.CallFinished(provider="p", model="m", seconds=1, error="RateLimited"),
            "warning",
            "call_finished",
        ),
    ],
)
def test_level(event: events.Event, level: str, name: str) -> None:
    """Trouble is a warning, a run's ends are info, each record's and call's are debug."""
    with structlog.testing.capture_logs() as entries:
        LogEvents(logger=structlog.get_logger())(event)
    assert [(entry["log_level"], entry["event"]) for entry in entries] == [(level, name)]


def test_errors_are_told_by_class_and_message() -> None:
    """An exception is written as its class and message."""
    entries: list[dict[str, Any]]
    with structlog.testing.capture_logs() as entries:  # type: ignore[assignment]
        LogEvents(logger=structlog.get_logger())(
            events.RecordWaited(key="1", stage="s", seconds=1, error=_LIMITED)
        )
    assert entries[0]["error"] == "RateLimited: slow down"


def test_lines_on_a_stream() -> None:
    """On a stream there are lines of key=value, from the level on that was asked for."""
    stream = io.StringIO()
    log = LogEvents.to_stream(stream, level="info")
    with events.listen(log):
        events.emit(events.RunStarted(max_in_flight=4))
        events.emit(events.RecordSettled(key="1", outcome="written", seconds=1))
    (line,) = stream.getvalue().splitlines()
    assert "level=info event=run_started max_in_flight=4" in line

"""Progress shows a run while it goes on, in virtual time, and never disturbs it."""

from __future__ import annotations

import io
import json
from typing import Any

import anyio
import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.report import Report
from genai_pipeline.telemetry import Progress
from genai_pipeline.telemetry._progress import Mode
from genai_pipeline.testing import FakeClock
from tests.telemetry.reports import report

pytestmark = pytest.mark.anyio


class Steady:
    """A run that ends ten records each second."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._began = clock.now()

    def report(self) -> Report:
        """Answer how it stands now."""
        elapsed = self._clock.now() - self._began
        ended = int(elapsed * 10)
        return report(elapsed=elapsed, read=ended, written=ended)


def shown(clock: FakeClock, mode: Mode = "plain", **options: Any) -> tuple[Progress, io.StringIO]:
    """Answer a progress over a steady run, and what it is written to."""
    stream = io.StringIO()
    options = {"report": Steady(clock).report, **options}
    return Progress(mode=mode, stream=stream, clock=clock, **options), stream


async def test_plain_lines_come_ever_more_rarely(clock: FakeClock) -> None:
    """An hour of a run takes about seventy plain lines, the first after two seconds."""
    progress, stream = shown(clock)
    async with progress:
        await clock.sleep(3600)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("0:02 · 20 done · 10.0/s")
    assert 60 <= len(lines) <= 75


async def test_short_run_says_nothing(clock: FakeClock) -> None:
    """A run of less than two seconds has no progress to tell."""
    progress, stream = shown(clock)
    async with progress:
        await clock.sleep(1.9)
    assert stream.getvalue() == ""


async def test_json_lines(clock: FakeClock) -> None:
    """In JSON there is an object a second, with the report, the share and the time left."""
    progress, stream = shown(clock, "json", total=100, name="job")
    async with progress:
        await clock.sleep(3.5)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["written"] for line in lines] == [10, 20, 30]
    assert lines[-1]["progress"] == "job"
    assert lines[-1]["seconds_left"] == 7.0


async def test_none(clock: FakeClock) -> None:
    """Without progress nothing is written at all."""
    progress, stream = shown(clock, "none")
    async with progress:
        await clock.sleep(100)
    assert stream.getvalue() == ""


async def test_auto_is_plain_without_a_terminal(clock: FakeClock) -> None:
    """A stream that is no terminal gets plain lines."""
    progress, stream = shown(clock, "auto")
    async with progress:
        await clock.sleep(2.5)
    assert stream.getvalue().count("\n") == 1


async def test_total_that_is_found_out(clock: FakeClock) -> None:
    """A total that has to be looked for shows when it is found."""

    async def look() -> int:
        await clock.sleep(2.5)
        return 100

    progress, stream = shown(clock, "json", total=look)
    async with progress:
        await clock.sleep(3.5)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["total"] for line in lines] == [None, None, 100]


async def test_total_that_cannot_be_found(clock: FakeClock) -> None:
    """When looking for the total fails, the run is shown without."""

    async def look() -> int:
        raise OSError("the file is gone")

    progress, stream = shown(clock, "json", total=look)
    async with progress:
        await clock.sleep(1.5)
    assert json.loads(stream.getvalue())["total"] is None


async def test_errors_pass_unwrapped(clock: FakeClock) -> None:
    """What the block raises comes out as it is, in no group."""
    progress, _ = shown(clock)
    with pytest.raises(KeyError):
        async with progress:
            await clock.sleep(3)
            raise KeyError("mine")


async def test_cancellation_passes(clock: FakeClock) -> None:
    """A block that is cancelled from outside ends at once."""
    progress, _ = shown(clock)
    with clock.cancel_at(clock.now() + 5) as scope:
        async with progress:
            await clock.sleep(1000)
    assert scope.cancelled_caught


async def test_no_report_yet(clock: FakeClock) -> None:
    """Before the first run there is nothing to show, and that is no trouble."""

    def none_yet() -> Report:
        raise ConfigurationError("no report before the first run()")

    progress, stream = shown(clock, report=none_yet)
    async with progress:
        await clock.sleep(10)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", ["plain", "json", pytest.param("live", marks=pytest.mark.extras)])
async def test_broken_stream(clock: FakeClock, mode: Mode) -> None:
    """When the stream breaks, the display falls silent and the run goes on."""

    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    progress = Progress(report=Steady(clock).report, mode=mode, stream=Broken(), clock=clock)
    async with progress:
        await clock.sleep(10)
        await anyio.lowlevel.checkpoint()


async def test_unknown_mode() -> None:
    """A mode that does not exist is refused with the ones that do."""
    with pytest.raises(ConfigurationError, match="mode='loud'; give one of 'auto', 'live'"):
        Progress(report=lambda: None, mode="loud")  # type: ignore[arg-type]
